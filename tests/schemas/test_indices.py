"""Index files: what is refused, and that the message names the cure."""

from datetime import date

import pytest

from flows.resources import every_index, index
from schemas.errors import ConfigurationError
from schemas.indices import parse

PLAIN = """
name = "plain"
title = "Plain"
grades = ["good", "bad"]
default = "b"
[[tables]]
version = "a"
source = "a test"
index = [[0, 50], [51, 100]]
[tables.parameters]
pm25 = { average = "24h", bands = [[0, 15], [16, 35]] }
[[tables]]
version = "b"
since = 2020-05-01
source = "a test"
index = [[0, 50], [51, 100]]
[tables.parameters]
pm25 = { average = "24h", bands = [[0, 10], [11, 35]] }
"""


def test_shipped_files_are_named_as_their_index():
    assert {*every_index()} == {"korea", "us-aqi"}
    for name in every_index():
        assert index(name).name == name
    with pytest.raises(FileNotFoundError, match="indices/mars"):
        index("mars")


def test_tables_by_name_and_day():
    plain = parse(PLAIN.encode())
    assert plain.table().version == plain.on(None).version == "b"
    assert plain.table("a").version == "a"
    assert [plain.on(date(2020, *day)).version for day in ((4, 30), (5, 1), (5, 2))] == ["a", "b", "b"]
    with pytest.raises(ConfigurationError, match="no table 'c'; there are: a, b"):
        plain.table("c")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"24h"', '"12h"', "12h"),
        ('"24h"', '"nowcast_o3"', "of o3 alone, not of pm25"),
        ("[0, 10], [11, 35]", "[0, 10], [9, 35]", "must rise"),
        ("[0, 10], [11, 35]", "[0, 10], [11, 11]", "must rise"),
        ("[0, 10], [11, 35]", "[0, 10], [11, nan]", "must rise"),
        ("[0, 10], [11, 35]", "[-1, 10], [11, 35]", "below 0"),
        ("[0, 10], [11, 35]", "[0, 10], [11, inf]", "without an end"),
        ("[0, 10], [11, 35]", "[0, 10], [11, 35], [36, 40]", "index has 2"),
        ("[[0, 10], [11, 35]]", "[]", "bands"),
        ("pm25 = {", "pm4 = {", "unknown parameter 'pm4'"),
        ("[51, 100]", "[52, 100]", "without gaps"),
        ("[51, 100]", "[51, 51]", "without gaps"),
        ('grades = ["good", "bad"]', 'grades = ["good"]', "grades names 1"),
        ('default = "b"', 'default = "c"', "there are: a, b"),
        ('version = "b"', 'version = "a"', "twice"),
        ("since = 2020-05-01", "", "must rise"),
        ("since = 2020-05-01", "sence = 2020-05-01", "sence"),
        ('name = "plain"', 'name = "Plain one"', "name"),
        ("[[tables]]", "[[tables]", "plain.toml"),
    ],
)
def test_what_does_not_hold_together_is_refused(old, new, message):
    assert old in PLAIN
    with pytest.raises(ConfigurationError, match=r"^plain\.toml: ") as refused:
        parse(PLAIN.replace(old, new).encode(), "plain.toml")
    assert message in str(refused.value)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        parse(b"\xff")
