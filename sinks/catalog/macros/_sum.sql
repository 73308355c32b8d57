-- What do hours sum up to, one by one from the newest back?
_sum(hours) AS list_reduce(list_transform(hours, lambda hour: coalesce(hour, 0e0)), lambda total, hour: total + hour)
