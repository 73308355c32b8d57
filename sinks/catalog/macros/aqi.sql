-- Which index and grade has a concentration in the default table of an index file: `aqi('us-aqi', 'pm10', 154)`?
aqi(name, parameter, value) AS
list_transform(
    [_look_up(name || ' ' || parameter, value)],
    lambda x: {'aqi': x.index, 'grade': x.grade, 'over_range': x.beyond}
)[1]
