-- Which messages were refused, and why?
SELECT * REPLACE (coalesce(flow, 'air') AS flow)
FROM {rejects}
