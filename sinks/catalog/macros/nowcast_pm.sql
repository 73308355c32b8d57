-- Which US NowCast have the last 12 hours of PM, newest first: `nowcast_pm([60, 20, …], 'pm25')`? Truncated, as its index asks.
nowcast_pm(list, parameter) AS
list_transform(  -- lists of one, so that what each step needs is written once
    list_transform(
        list_transform(
            [_hours(list, {nowcast_hours})],
            lambda hours: {
                'hours': hours,
                'weight': CASE
                    WHEN list_max(hours) > 0
                    THEN greatest(1e0 - (list_max(hours) - list_min(hours)) / list_max(hours), {least_weight})
                    ELSE 1e0
                END
            }
        ),
        lambda x: {
            'count': list_count(x.hours[:{nowcast_newest}]),
            'sums': list_reduce(  -- Horner's rule, from the oldest hour on
                list_transform(
                    list_reverse(x.hours),
                    lambda hour: {
                        'amount': coalesce(hour, 0e0), 'share': CASE WHEN hour IS NULL THEN 0e0 ELSE 1e0 END
                    }
                ),
                lambda sums, hour: {
                    'amount': sums.amount * x.weight + hour.amount, 'share': sums.share * x.weight + hour.share
                }
            )
        }
    ),
    lambda x: _look_up(
        'us-aqi ' || parameter, CASE WHEN x.count >= {nowcast_need} THEN x.sums.amount / x.sums.share END
    ).taken
)[1]
