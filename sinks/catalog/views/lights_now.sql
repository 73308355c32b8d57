-- What does each light show at this moment? Gray from valid_until on, whatever it was told.
SELECT
    light_id,
    CASE WHEN newest.valid_until > now() THEN newest.color ELSE 'gray' END AS color,
    now() - newest.as_of AS age,
    newest.*
FROM (SELECT light_id, arg_max(light_states, seq) AS newest FROM light_states GROUP BY light_id)
