"""Time in a city file: zones and cadences that fit nothing are refused, naming file, key and what would do."""

import pytest

from schemas.city import CityError, parse

STATION = '[[stations]]\nid = "a"\nlat = 35.2\nlon = 128.8\n'


def city(timezone="Asia/Seoul", every="1m", more=""):
    text = f'[city]\nid = "t"\nname = "T"\ntimezone = "{timezone}"\n{STATION}every = "{every}"\n{more}'
    return parse(text.encode(), "t.toml")


@pytest.mark.parametrize(
    ("timezone", "would_do"),
    [
        ("Asia/Kolkata", "'Etc/GMT-5' or 'Etc/GMT-6'"),
        ("Asia/Kathmandu", "'Etc/GMT-5' or 'Etc/GMT-6'"),
        ("America/St_Johns", "'Etc/GMT+4' or 'Etc/GMT+3'"),
        ("Australia/Lord_Howe", "'Etc/GMT-10' or 'Etc/GMT-11'"),  # half an hour in winter only
        ("Australia/Adelaide", "'Etc/GMT-"),
        ("Asia/Tehran", "'Etc/GMT-3' or 'Etc/GMT-4'"),
    ],
)
def test_zones_off_the_whole_hour_are_refused(timezone, would_do):
    with pytest.raises(CityError, match=r"t\.toml: city\.timezone = '.*' is off the whole hour") as refused:
        city(timezone)
    assert would_do in str(refused.value)
    city(would_do.split("'")[1] + ("10" if would_do == "'Etc/GMT-" else ""))


@pytest.mark.parametrize("timezone", ["Asia/Seoul", "UTC", "Europe/Berlin", "America/New_York", "Asia/Pyongyang"])
def test_zones_of_whole_hours_are_taken(timezone):
    assert city(timezone).city.timezone == timezone


def test_a_zone_that_nobody_knows_is_refused():
    with pytest.raises(CityError, match="unknown time zone 'Mars/Olympus'"):
        city("Mars/Olympus")


@pytest.mark.parametrize(
    ("every", "would_do"),
    [
        ("25m", "give '20m' or '30m'"),
        ("7m", "give '6m' or '10m'"),
        ("40m", "give '30m' or '1h'"),
        ("45m", "give '30m' or '1h'"),
        ("59m", "give '30m' or '1h'"),
        ("90s", "give '1m' or '2m'"),
        ("7s", "give '10s'"),
        ("50s", None),
        ("2h", "longer than 1h"),
    ],
)
def test_cadences_that_do_not_divide_the_hour_are_refused(every, would_do):
    if would_do is None:
        city(every=every)
        return
    with pytest.raises(CityError, match=r"t\.toml: .*stations\[0\] \('a'\): station 'a'") as refused:
        city(every=every)
    assert f"every = '{every}'" in str(refused.value)
    assert would_do in str(refused.value)


@pytest.mark.parametrize(
    ("every", "would_do"), [("3m", "'2m' or '5m'"), ("4m", "'2m' or '5m'"), ("6m", "'5m' or '10m'")]
)
def test_cadences_that_do_not_divide_the_step_are_refused(every, would_do):
    with pytest.raises(CityError, match=r"does not divide windows\.step = '10m'") as refused:
        city(every=every)
    assert would_do in str(refused.value)
    assert city(every=every, more='[windows]\nstep = "12m"\nlengths = ["1h", "24h"]').stations[0].every == every


@pytest.mark.parametrize("every", ["1s", "10s", "1m", "2m", "5m", "10m", "12m", "15m", "20m", "30m", "1h"])
def test_cadences_that_fit_are_taken(every):
    assert city(every=every).stations[0].every == every


def test_a_cadence_that_fills_no_window_is_refused():
    with pytest.raises(CityError, match=r"fills none of windows\.lengths"):
        city(every="1h", more='[windows]\nlengths = ["10m", "90m"]')


@pytest.mark.parametrize("step", ["7m", "16m", "40m", "2h", "90s"])
def test_steps_that_do_not_divide_the_hour_are_refused(step):
    with pytest.raises(CityError, match=r"windows\.step = .* must be whole minutes that divide the hour.*; give '"):
        city(more=f'[windows]\nstep = "{step}"')


@pytest.mark.parametrize("snap", ["-0.01", "0.3"])
def test_a_time_cannot_be_near_to_all_multiples(snap):
    with pytest.raises(CityError, match="snap"):
        city(more=f"[late]\nsnap = {snap}")


def test_an_odor_sensor_needs_a_cadence_that_fits():
    with pytest.raises(CityError, match="odor sensor 'o': every = '25m'"):
        city(more='[[odor_sensors]]\nid = "o"\nlat = 35.2\nlon = 128.8\ncomplex = "c"\nevery = "25m"')
