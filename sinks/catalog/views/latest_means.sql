-- What is the newest valid mean of each station, parameter and window, of the last seven days of air?
SELECT
    station_id,
    parameter,
    window_length,
    max(ended_at) AS ended_at,
    arg_max(mean, ended_at) AS mean,
    arg_max(coverage, ended_at) AS coverage,
    arg_max(suspect, ended_at) AS suspect
FROM {rolling}
WHERE valid AND dt > {rolling_day} - 7
GROUP BY station_id, parameter, window_length
