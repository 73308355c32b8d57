-- Which stages did the alerts of each zone reach, when, and by which value?
FROM {alerts}
