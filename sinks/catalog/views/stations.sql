-- Which stations does the city file name, and how often should each report?
FROM {stations}
