"""How fast do lines become columns, and what does garbage among them cost?

The limit is msgspec's list of structs of the same bytes, joined to arrays beforehand: it makes no columns, reads no
times and refuses nothing.
"""

from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import child, in_turn, python, spread
from benchmarks.report import Report, Target


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    days = 3 if quick else 10
    city = inputs.city(folder)
    clean, dirty = inputs.lines(folder, days), inputs.lines(folder, days, garbage=True)
    limit = "msgspec list of structs"
    contenders = {
        "ours": partial(child, python("ours.decode_lines", city, clean.path)),
        limit: partial(child, python("peers.msgspec_lines", clean.path)),
        "ours, 1 % garbage": partial(child, python("ours.decode_lines", city, dirty.path)),
    }
    runs = in_turn(contenders, rounds)
    rates = {
        name: sorted(run.said["lines"] / run.said["seconds"] for run in of_one)[len(of_one) // 2]
        for name, of_one in runs.items()
    }
    columns = ("", "lines/s", "µs/line", "of msgspec", "of clean", "spread")
    report = Report("decode", (__doc__ or "").partition("\n")[0], columns)
    for name, rate in rates.items():
        of_clean = None if name == limit else rate / rates["ours"]
        report.rows.append((name, rate, 1e6 / rate, rate / rates[limit], of_clean, spread(runs[name])))
    report.targets = [
        Target("ours of msgspec's speed", rates["ours"] / rates[limit], 0.4, 0.7),
        Target("with garbage of clean", rates["ours, 1 % garbage"] / rates["ours"], 0.5),
    ]
    said = runs["ours, 1 % garbage"][0].said
    size = clean.path.stat().st_size / clean.readings
    report.notes = [
        f"{clean.readings:,} lines of {size:.0f} bytes; {said['rejects']:,} of {said['lines']:,} refused among garbage",
        "by the processor's clock, for decoding waits for nothing; the spread is that of the whole processes",
    ]
    return report
