"""How fast do lines become columns, and what does garbage among them cost?

The limit is msgspec's list of structs of the same bytes, joined to arrays beforehand: it makes no columns, reads no
times and refuses nothing. The peer makes the same columns and rejects of msgspec's structs: what we would have without
the compiled scanner (docs/decisions/0023).
"""

from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import child, in_turn, python, spread
from benchmarks.report import Report, Target

OURS, LIMIT, PEER = "ours", "msgspec list of structs", "msgspec decode_lines, columns"
GARBAGE = ", 1 % garbage"


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    days = 3 if quick else 10
    city = inputs.city(folder)
    clean, dirty = inputs.lines(folder, days), inputs.lines(folder, days, garbage=True)
    contenders = {
        OURS: partial(child, python("ours.decode_lines", city, clean.path)),
        LIMIT: partial(child, python("peers.msgspec_lines", clean.path)),
        PEER: partial(child, python("peers.msgspec_columns", city, clean.path)),
        OURS + GARBAGE: partial(child, python("ours.decode_lines", city, dirty.path)),
        PEER + GARBAGE: partial(child, python("peers.msgspec_columns", city, dirty.path)),
    }
    runs = in_turn(contenders, rounds)
    rates = {
        name: sorted(run.said["lines"] / run.said["seconds"] for run in of_one)[len(of_one) // 2]
        for name, of_one in runs.items()
    }
    columns = ("", "lines/s", "µs/line", "of msgspec", "of clean", "ours / it", "spread")
    report = Report("decode", (__doc__ or "").partition("\n")[0], columns)
    for name, rate in rates.items():
        clean_rate = rates[name.removesuffix(GARBAGE)] if name.endswith(GARBAGE) else None
        same_input = rates[OURS + GARBAGE] if clean_rate else rates[OURS]
        of_clean = rate / clean_rate if clean_rate else None
        row = name, rate, 1e6 / rate, rate / rates[LIMIT], of_clean, same_input / rate, spread(runs[name])
        report.rows.append(row)
    report.targets = [
        Target("ours of msgspec's speed", rates[OURS] / rates[LIMIT], 0.4, 0.7),
        Target("ours of the speed of msgspec's columns", rates[OURS] / rates[PEER], 1.5),
        Target("with garbage of clean", rates[OURS + GARBAGE] / rates[OURS], 0.5),
    ]
    said = runs[OURS + GARBAGE][0].said
    size = clean.path.stat().st_size / clean.readings
    report.notes = [
        f"{clean.readings:,} lines of {size:.0f} bytes; {said['rejects']:,} of {said['lines']:,} refused among garbage",
        "by the processor's clock, for decoding waits for nothing; the spread is that of the whole processes",
    ]
    return report
