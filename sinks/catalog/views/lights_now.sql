-- What does each light show at this moment, by the rules of docs/lights.md, and what was it told (`told_…`)?
WITH told AS (  -- the newest state of each light; what does not say its place is passed over
    SELECT light_id, COLUMNS(* EXCLUDE (light_id, dt)) AS 'told_\0'
    FROM light_states
    WHERE seq BETWEEN 0 AND {last_seq}
    QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1
),
judged AS (
    SELECT
        light_id,
        lights.name,
        CASE
            WHEN told_seq IS NULL THEN 'nothing yet'
            WHEN NOT coalesce(
                told_color = {colors}[coalesce(told_grade, 0) + 1]
                AND coalesce(told_grade, 1) BETWEEN 1 AND 4
                AND coalesce(told_parameter, 'pm10') IN ('pm10', 'pm25')
                AND (
                    told_grade IS NOT NULL
                    OR coalesce(told_parameter, told_pm10::VARCHAR, told_pm25::VARCHAR, told_o3::VARCHAR,
                        told_temperature::VARCHAR, told_humidity::VARCHAR) IS NULL
                )
                AND told_as_of >= make_timestamptz(0) AND told_as_of < {end_of_time}::TIMESTAMPTZ
                AND told_valid_until > told_as_of
                AND told_valid_until <= told_as_of + to_microseconds({max_life})
                AND told_stations IS NOT NULL
                AND len(list_filter(told_stations, lambda id: NOT length(id) BETWEEN 1 AND 128)) = 0
                AND coalesce(told_coverage, 1) BETWEEN 0 AND 1
                AND told_reason IS NOT NULL
                AND length(coalesce(told_text, '')) <= {max_text},
                false
            ) THEN 'wild'
            WHEN told_as_of - now() > to_microseconds({tolerance}) THEN 'clock'
            WHEN now() >= told_valid_until THEN 'over'
            ELSE 'told'
        END AS why,
        told.* EXCLUDE (light_id)
    FROM {lights} AS lights
    FULL JOIN told USING (light_id)
)
SELECT
    light_id,
    name,
    CASE WHEN why = 'told' THEN told_color ELSE 'gray' END AS color,
    CASE WHEN why = 'told' THEN {faces}[coalesce(told_grade, 0) + 1] END AS face,
    CASE WHEN why = 'told' THEN told_grade END AS grade,
    CASE WHEN why = 'told' THEN told_parameter END AS parameter,
    CASE WHEN why = 'told' THEN told_pm10 END AS pm10,
    CASE WHEN why = 'told' THEN told_pm25 END AS pm25,
    CASE WHEN why = 'told' THEN told_o3 END AS o3,
    CASE WHEN why = 'told' THEN told_temperature END AS temperature,
    CASE WHEN why = 'told' THEN told_humidity END AS humidity,
    CASE WHEN why = 'told' THEN told_text END AS text,
    why,
    now() - told_as_of AS age,
    judged.* EXCLUDE (light_id, name, why)
FROM judged
