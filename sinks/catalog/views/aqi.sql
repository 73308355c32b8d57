-- What do other indices, such as that of the US, say of each station, hour and pollutant? The newest revisions.
FROM {aqi}
