-- Which Korean grade, 1 to 4, has this hour of a parameter: `grade('pm25', 22)`?
grade(parameter, value) AS aqi('korea', parameter, value).grade
