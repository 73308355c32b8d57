-- Do the offsets of each flow's input partitions add up?
SELECT
    flow,
    topic,
    kpart,
    min(first_offset) AS first_offset,
    max(last_offset) AS last_offset,
    sum(received)::BIGINT AS received,
    sum(stored)::BIGINT AS stored,
    sum(rejected)::BIGINT AS rejected,
    sum(duplicate)::BIGINT AS duplicate,
    sum(too_late)::BIGINT AS too_late,
    sum(other)::BIGINT AS other,
    sum(gap)::BIGINT AS gap,
    -- Epochs after the one that took the last offset can only judge what waits: the least is the newest.
    min(waiting) FILTER (last_offset = newest_offset) AS waiting,
    sum(received) = sum(stored + rejected + duplicate + too_late)
        AND sum(received) + min(waiting) FILTER (last_offset = newest_offset)
            = max(last_offset) - min(first_offset) + 1 - sum(gap) - sum(other) AS balanced,
    max(received_at) AS received_at
FROM (SELECT *, max(last_offset) OVER (PARTITION BY flow, topic, kpart) AS newest_offset FROM ledger)
GROUP BY flow, topic, kpart
