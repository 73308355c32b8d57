-- What do other indices, such as that of the US, say of each station, hour and pollutant? The newest revisions.
-- A row without a concentration was withdrawn: late values that fail left its hour without a mean.
FROM {aqi}
WHERE concentration IS NOT NULL
