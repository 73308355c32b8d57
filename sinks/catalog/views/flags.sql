-- Which values do tests of their surroundings suspect? What was withdrawn is not shown.
FROM {flags} WHERE flag = 3
