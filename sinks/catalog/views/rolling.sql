-- Which mean holds for each station, parameter and window? The newest revisions.
FROM {rolling}
