-- What does each light show at this moment, by the rules of docs/lights.md, and what was it told (`told_…`)?
WITH told AS (  -- the newest state of each light; what breaks the contract changes nothing
    SELECT light_id, COLUMNS(* EXCLUDE (light_id, dt)) AS 'told_\0'
    FROM light_states
    WHERE coalesce(
        length(light_id) BETWEEN 1 AND 128
        AND seq BETWEEN 0 AND {last_seq}
        AND (color = {colors}[coalesce(grade, 0) + 1] OR NOT list_contains({colors}, color))
        AND coalesce(grade, 1) BETWEEN 1 AND 4
        AND coalesce(parameter, 'pm10') IN ('pm10', 'pm25')
        AND (
            grade IS NOT NULL
            OR coalesce(parameter, pm10::VARCHAR, pm25::VARCHAR, o3::VARCHAR, temperature::VARCHAR, humidity::VARCHAR)
                IS NULL
        )
        AND as_of >= make_timestamptz(0) AND as_of < {end_of_time}::TIMESTAMPTZ
        AND valid_until > as_of AND valid_until <= as_of + to_microseconds({max_life})
        AND stations IS NOT NULL
        AND len(list_filter(stations, lambda id: NOT length(id) BETWEEN 1 AND 128)) = 0
        AND coalesce(coverage, 1) BETWEEN 0 AND 1
        AND reason IS NOT NULL
        AND length(coalesce(text, '')) <= {max_text},
        false
    )
    QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1
),
judged AS (
    SELECT
        light_id,
        lights.name,
        CASE
            WHEN told_seq IS NULL THEN 'nothing yet'
            WHEN NOT list_contains({colors}, told_color) THEN 'color'
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
