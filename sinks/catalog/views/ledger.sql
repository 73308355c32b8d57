-- What did each epoch of each input partition take in?
SELECT * REPLACE (coalesce(flow, 'air') AS flow, coalesce(other, 0) AS other)
FROM {ledger}
