-- Which hours are there: so many of a list, newest first, not below 0, NULL where there is none?
_hours(hours, length) AS
list_transform(
    list_resize(hours::DOUBLE[], length),
    lambda hour: CASE WHEN isfinite(hour) THEN greatest(hour, 0e0) END
)
