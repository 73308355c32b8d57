-- Which Korean index have these hourly means of gases (ppm) and 24-hour predicted means of PM (µg/m³)?
cai(so2 := NULL, co := NULL, o3 := NULL, no2 := NULL, pm10_24h := NULL, pm25_24h := NULL, at := NULL) AS
list_transform(  -- lists of one, so that what each step needs is written once
    list_transform(
        list_transform(
            [list_transform(
                [
                    {'parameter': 'pm10', 'value': pm10_24h::DOUBLE},
                    {'parameter': 'pm25', 'value': pm25_24h::DOUBLE},
                    {'parameter': 'o3', 'value': o3::DOUBLE},
                    {'parameter': 'no2', 'value': no2::DOUBLE},
                    {'parameter': 'co', 'value': co::DOUBLE},
                    {'parameter': 'so2', 'value': so2::DOUBLE}
                ],
                -- the table of the day; the default one without a day, the oldest for days before all
                lambda x: _look_up({korea_on_day} || x.parameter, x.value)
            )],
            lambda i: {
                'i': i,
                'highest': CASE  -- there is none without the first four
                    WHEN list_count(list_transform(i[:4], lambda graded: graded.index)) = 4
                    THEN list_max(list_transform(i, lambda graded: graded.index))
                END,
                'added': {added}[least(len(list_filter(i, lambda graded: graded.grade >= {bad})), {most_bad}) + 1]
            }
        ),
        lambda x: {
            'i': x.i,
            'highest': x.highest,
            'added': CASE WHEN x.highest IS NOT NULL THEN x.added::SMALLINT END,
            'index': CASE WHEN x.highest IS NOT NULL THEN least(x.highest + x.added, {highest})::SMALLINT END
        }
    ),
    lambda x: {
        'cai': x.index,
        'grade': {korea_grade},
        'main_parameter': CASE x.highest
            WHEN x.i[2].index THEN 'pm25'
            WHEN x.i[1].index THEN 'pm10'
            WHEN x.i[3].index THEN 'o3'
            WHEN x.i[4].index THEN 'no2'
            WHEN x.i[5].index THEN 'co'
            WHEN x.i[6].index THEN 'so2'
        END,
        'added': x.added,
        'index_pm10': x.i[1].index,
        'index_pm25': x.i[2].index,
        'index_o3': x.i[3].index,
        'index_no2': x.i[4].index,
        'index_co': x.i[5].index,
        'index_so2': x.i[6].index,
        'over_range': len(list_filter(x.i, lambda graded: graded.beyond)) > 0
            OR coalesce(x.highest + x.added > {highest}, false)
    }
)[1]
