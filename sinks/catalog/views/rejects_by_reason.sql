-- How much was refused each day, by flow, input and reason, and what did it look like?
SELECT
    dt,
    flow,
    topic,
    reason,
    count(*) AS messages,
    min(received_at) AS first_received_at,
    max(received_at) AS last_received_at,
    arg_max(detail, received_at) AS newest_detail
FROM rejects
GROUP BY dt, flow, topic, reason
