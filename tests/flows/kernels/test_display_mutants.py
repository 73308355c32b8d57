"""The vectors are worth something: a plain light of the page keeps them all, and each that errs in one way does not."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "lights.json").read_text(encoding="utf-8"))
FACES = {"blue": "smile", "green": "calm", "yellow": "worry", "red": "frown"}
GRAY = dict.fromkeys(("face", "pm10", "pm25", "text")) | {"color": "gray"}


class PlainLight:
    """A light as a maker would write it from docs/lights.md, with nothing of this project."""

    needed = ("light_id", "seq", "color", "as_of", "valid_until")

    def __init__(self, light_id):
        self.light_id, self.newest = light_id, None

    def receive(self, value):
        message = self.parse(value)
        if message is None or message["light_id"] != self.light_id:
            return
        if self.newest is None or self.is_newer(message["seq"], self.newest["seq"]):
            self.newest = message

    def parse(self, value):
        try:
            message = json.loads(value)
        except (TypeError, ValueError):
            return None
        if not isinstance(message, dict) or any(message.get(name) is None for name in self.needed):
            return None
        if not isinstance(message["seq"], int) or not 0 <= message["seq"] < 2**53:
            return None
        return message if self.times_are_right(message) else None

    def times_are_right(self, message):
        try:
            begin, end = (datetime.fromisoformat(message[name]) for name in ("as_of", "valid_until"))
            return begin < end <= begin + timedelta(hours=3)
        except (TypeError, ValueError):
            return False

    def is_newer(self, seq, than):
        return seq > than

    def show(self, clock, *, synchronised):
        if self.newest is None or not synchronised or self.newest["color"] not in (*FACES, "gray"):
            return GRAY
        begin, end = (datetime.fromisoformat(self.newest[name]) for name in ("as_of", "valid_until"))
        if begin - clock > timedelta(minutes=5) or clock >= end:
            return self.grayed()
        return self.painted()

    def grayed(self):
        return GRAY

    def painted(self):
        of = self.newest
        return {
            "color": of["color"],
            "face": FACES.get(of["color"]),
            "pm10": of["pm10"],
            "pm25": of["pm25"],
            "text": of["text"],
        }


class CrashesOnNoValue(PlainLight):
    def parse(self, value):
        return super().parse(value.decode())


class CrashesOnNoJson(PlainLight):
    def parse(self, value):
        if value is not None:
            json.loads(value)
        return super().parse(value)


class CrashesOnAnArray(PlainLight):
    def parse(self, value):
        try:
            message = json.loads(value)
        except (TypeError, ValueError):
            return None
        message.get("seq")
        return super().parse(value)


class CrashesOnANull(PlainLight):
    def parse(self, value):
        try:
            message = json.loads(value)
        except (TypeError, ValueError):
            return None
        if isinstance(message, dict) and "seq" in message:
            int(message["seq"])
        return super().parse(value)


class TrustsAnyTimes(PlainLight):
    def times_are_right(self, message):
        return True


class TrustsALongLife(PlainLight):
    def times_are_right(self, message):
        return datetime.fromisoformat(message["valid_until"]) > datetime.fromisoformat(message["as_of"])


class NeverEnds(PlainLight):
    def show(self, clock, *, synchronised):
        return self.painted() if self.newest else GRAY


class ComparesSeqsAsText(PlainLight):
    def is_newer(self, seq, than):
        return str(seq) > str(than)


class TakesTheSameSeqAgain(PlainLight):
    def is_newer(self, seq, than):
        return seq >= than


class TakesWhateverComes(PlainLight):
    def is_newer(self, seq, than):
        return True


class KeepsSeqsInFloats(PlainLight):
    def is_newer(self, seq, than):
        return seq * 1.1 // 1 > than * 1.1 // 1 and seq < 2**53 - 1


class ShowsAnUnknownColor(PlainLight):
    def show(self, clock, *, synchronised):
        if self.newest and self.newest["color"] not in (*FACES, "gray"):
            return self.painted()
        return super().show(clock, synchronised=synchronised)


class IgnoresAnUnknownColor(PlainLight):
    def parse(self, value):
        message = super().parse(value)
        return message if message and message["color"] in (*FACES, "gray") else None


class KeepsNumbersInGray(PlainLight):
    def grayed(self):
        return {**self.painted(), "color": "gray", "face": None, "text": None}


class KeepsItsTextInGray(PlainLight):
    def grayed(self):
        return {**GRAY, "text": self.newest["text"]}


class RoundsNumbers(PlainLight):
    def painted(self):
        numbers = {name: value and float(round(value)) for name, value in super().painted().items() if name[:2] == "pm"}
        return super().painted() | numbers


class CutsTexts(PlainLight):
    longest = 100

    def painted(self):
        return super().painted() | {"text": self.newest["text"] and self.newest["text"][: self.longest]}


class CutsTextsLate(CutsTexts):
    longest = 499


class ReadsOthersMessages(PlainLight):
    def receive(self, value):
        message = self.parse(value)
        if message is not None:
            super().receive(json.dumps({**message, "light_id": self.light_id}))


def mutants(of=PlainLight):
    for each in of.__subclasses__():
        yield each
        yield from mutants(each)


def keeps(kind, case):
    """Whether a light shows in each event of a case what it must."""
    light = kind(VECTORS["light_id"])
    for event in case["events"]:
        if "clock" in event:
            shown = light.show(datetime.fromisoformat(event["clock"]), synchronised=event.get("synchronised", True))
            if {"why": event["shows"]["why"], **shown} != event["shows"]:
                return False
        else:
            text = event.get("receive_text")
            if text is None and event["receive"] is not None:
                text = json.dumps(event["receive"])
            light.receive(None if text is None else text.encode())
    return True


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_plain_light_keeps_every_vector(case):
    assert keeps(PlainLight, case)


def killed_by(kind, case):
    try:
        return not keeps(kind, case)
    except Exception:
        return True


@pytest.mark.parametrize("mutant", [*mutants()], ids=lambda mutant: mutant.__name__)
def test_a_light_that_errs_in_one_way_is_killed(mutant):
    assert any(killed_by(mutant, case) for case in VECTORS["cases"])
