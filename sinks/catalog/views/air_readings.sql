-- Which readings were accepted, with the values as sent?
FROM {air_readings}
