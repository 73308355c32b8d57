-- How did each row of aqi change as late readings came? Every revision.
FROM {aqi_history}
