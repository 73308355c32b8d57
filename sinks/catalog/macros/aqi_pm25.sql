-- Which US AQI has this PM2.5, a 24-hour mean or NowCast in µg/m³?
aqi_pm25(value) AS aqi('us-aqi', 'pm25', value).aqi
