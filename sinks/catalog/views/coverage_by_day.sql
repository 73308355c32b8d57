-- How much of what each station should have sent came in, by day and parameter?
WITH sent AS (
    SELECT
        dt,
        station_id,
        unnest([
            {'parameter': 'pm10', 'received': count(pm10), 'failed': count(pm10) FILTER (flag_pm10 = 4)},
            {'parameter': 'pm25', 'received': count(pm25), 'failed': count(pm25) FILTER (flag_pm25 = 4)},
            {'parameter': 'o3', 'received': count(o3), 'failed': count(o3) FILTER (flag_o3 = 4)},
            {'parameter': 'no2', 'received': count(no2), 'failed': count(no2) FILTER (flag_no2 = 4)},
            {'parameter': 'co', 'received': count(co), 'failed': count(co) FILTER (flag_co = 4)},
            {'parameter': 'so2', 'received': count(so2), 'failed': count(so2) FILTER (flag_so2 = 4)}
        ], recursive := true)
    FROM air_readings
    GROUP BY dt, station_id
),
due AS (  -- a local day may have 23 or 25 hours
    SELECT dt, station_id, expected_per_hour * date_diff('hour', dt::TIMESTAMPTZ, (dt + 1)::TIMESTAMPTZ) AS expected
    FROM (SELECT DISTINCT dt FROM air_readings), stations
)
SELECT
    dt,
    station_id,
    parameter,
    coalesce(received, 0) AS received,
    coalesce(failed, 0) AS failed,
    expected,
    least(1.0, (coalesce(received, 0) - coalesce(failed, 0)) / expected) AS coverage
FROM due
CROSS JOIN (SELECT unnest(['pm10', 'pm25', 'o3', 'no2', 'co', 'so2']) AS parameter)
LEFT JOIN sent USING (dt, station_id, parameter)
