-- Which 24-hour mean do the last 15 hours of PM predict, newest first: `c24e([60, 60, 58, …], 'pm25')`?
c24e(list, parameter) AS
list_transform(  -- lists of one, so that the hours and their sums are each written once
    list_transform(
        [{
            'hours': _hours(list, {lookback}),
            'turn': {turn}
        }],
        lambda x: {
            'total': _sum(x.hours[:{hours}]),
            'count': list_count(x.hours[:{hours}]),
            'recent': list_transform(
                range({recent}),
                lambda back: {
                    'hour': x.hours[back + 1],
                    'near': x.hours[back + 1] >= x.turn  -- and near the mean of its own 12 hours
                        AND x.hours[back + 1] * list_count(x.hours[back + 1:back + {hours}])
                            / _sum(x.hours[back + 1:back + {hours}]) BETWEEN {near_low} AND {near_high}
                }
            ),
            'known': x.turn IS NOT NULL
        }
    ),
    lambda x: CASE
        WHEN x.known AND x.count >= {need_hours} AND list_count(list_transform(x.recent, lambda r: r.hour)) >= {need_recent}
        THEN (
            x.total / x.count
            + _sum(list_transform(x.recent, lambda r: CASE WHEN r.near THEN {share} * r.hour ELSE r.hour END))
                / list_count(list_transform(x.recent, lambda r: r.hour))
        ) / 2
    END
)[1]
