"""Macros of the catalog: kernels in SQL, so that an analyst can recompute any published number.

They stand one per file in ``macros/``; line 1 of each is the question that it answers, and those whose names begin
with ``_`` serve the others. What they name in braces comes from the index files and the kernels' constants: no number
has a second copy.
"""

import math
import re
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from importlib import resources
from typing import NamedTuple

import duckdb

from flows.kernels import bands, cai, nowcast
from flows.kernels.bands import Bands
from flows.resources import every_index
from schemas.indices import Index, IndexTable
from sinks.catalog.relations import literal

BRACES = re.compile(r"\{(\w+)\}")
"""A value that a macro names in braces. DuckDB's own structs have a quote after theirs."""
CALL = re.compile(r"(\w+)\(")
KOREA = "korea"


class Macro(NamedTuple):
    """A macro of the catalog: its name, the question it answers, and its SQL with values in braces."""

    name: str
    doc: str
    sql: str

    @property
    def call(self) -> str:
        """How it is called, with its parameters on one line."""
        return " ".join(self.sql.partition(") AS")[0].split()).replace("( ", "(") + ")"


def macros() -> list[Macro]:
    """Read every macro of ``macros/``: each after those that it calls."""
    listed = {}
    for file in resources.files("sinks.catalog").joinpath("macros").iterdir():
        if file.name.endswith(".sql"):
            first, _, sql = file.read_text(encoding="utf-8").partition("\n")
            name = file.name.removesuffix(".sql")
            listed[name] = Macro(name, first.removeprefix("-- "), sql.strip())
    calls = {name: {*CALL.findall(macro.sql.partition(" AS")[2])} & {*listed} for name, macro in sorted(listed.items())}
    return [listed[name] for name in TopologicalSorter(calls).static_order()]


def create_macros(indices: Mapping[str, Index] | None = None) -> Iterator[str]:
    """Yield the statement that makes each macro.

    Args:
        indices: index files by name; those shipped if not given.

    Raises:
        KeyError: a macro names a value that does not exist, or there is no Korean index.
    """
    in_braces = values(every_index() if indices is None else indices)
    for macro in macros():
        yield f"CREATE OR REPLACE MACRO {BRACES.sub(lambda brace: in_braces[brace[1]], macro.sql)}"


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every macro in a DuckDB connection."""
    for statement in create_macros():
        connection.execute(statement)


def values(indices: Mapping[str, Index]) -> dict[str, str]:
    """Write the SQL of each value that a macro may put in braces."""
    scales: dict[str, Bands] = {}
    for name, index in indices.items():
        for table in index.tables:
            scale_prefix = prefix(name, index, table)
            scales |= {scale_prefix + parameter: scale for parameter, scale in bands.bands_of(table).items()}
    korea = indices[KOREA]
    return {
        "taken": choose("x.scale", {name: taken(scale) for name, scale in scales.items()}),
        "index": choose("x.scale", {name: index_of(scale) for name, scale in scales.items()}),
        "grade": choose("x.scale", {name: grade_of(scale) for name, scale in scales.items()}),
        "beyond": choose("x.scale", {name: f"x.taken > {double(s.high[-1])}" for name, s in scales.items()}),
        "korea_on_day": on_day(KOREA, korea),
        "korea_grade": grade_of(bands.bands_of(korea.table())["pm25"]),
        "added": str([*cai.ADDED]),
        "most_bad": str(len(cai.ADDED) - 1),
        "bad": str(cai.BAD),
        "highest": str(cai.HIGHEST),
        "lookback": str(cai.LOOKBACK),
        "hours": str(cai.HOURS),
        "recent": str(cai.RECENT),
        "need_hours": str(cai.NEED_HOURS),
        "need_recent": str(cai.NEED_RECENT),
        "near_low": double(cai.NEAR_LOW),
        "near_high": double(cai.NEAR_HIGH),
        "share": double(cai.SHARE),
        "turn": choose("parameter", {parameter: double(turn) for parameter, turn in cai.TURN.items()}),
        "nowcast_hours": str(nowcast.PM_HOURS),
        "nowcast_need": str(nowcast.PM_NEED),
        "nowcast_newest": str(nowcast.PM_NEWEST),
        "least_weight": double(nowcast.LEAST_WEIGHT),
    }


def prefix(name: str, index: Index, table: IndexTable) -> str:
    """Name the scales of a table: what stands before the parameter. The default table goes without its version."""
    return f"{name} " if table.version == index.default else f"{name} {table.version} "


def on_day(name: str, index: Index) -> str:
    """Write which table of an index holds on the day ``at``, as ``Index.on`` chooses it."""
    names = [literal(prefix(name, index, table)) for table in index.tables]
    later = [
        f'WHEN "at"::DATE >= {literal(table.since)}::DATE THEN {named}'
        for table, named in zip(index.tables, names, strict=True)
        if table.since
    ]
    without = f'WHEN "at" IS NULL THEN {literal(prefix(name, index, index.table()))}'
    return f"CASE {' '.join([without, *reversed(later)])} ELSE {names[0]} END"


def choose(what: str, answers: Mapping[str, str]) -> str:
    """Write a choice by name; NULL gives NULL, and a name that is none of them an error."""
    cases = " ".join(f"WHEN {literal(name)} THEN {answer}" for name, answer in answers.items())
    known = literal(f" is none of: {', '.join(answers)}")
    return f"CASE {what} {cases} ELSE CASE WHEN {what} IS NOT NULL THEN error({what} || {known}) END END"


def double(value: float) -> str:
    """Write a number as a DOUBLE, to the last bit; without an exponent DuckDB would read a DECIMAL.

    >>> double(0.03), double(1e-9), double(float("inf"))
    ('0.03e0', '1e-09', "'inf'::DOUBLE")
    """
    if not math.isfinite(value):
        return f"'{value}'::DOUBLE"
    return repr(float(value)) if "e" in repr(float(value)) else f"{float(value)!r}e0"


def taken(scale: Bands) -> str:
    """Write ``flows.kernels.bands.taken`` of ``x.value``."""
    value = f"greatest(x.value, 0e0) * {double(scale.factor)}"
    if scale.power:
        value = f"floor({value} * {double(scale.power)} + {double(scale.shift)}) / {double(scale.power)}"
    return f"CASE WHEN isfinite(x.value) THEN {value} END"


def index_of(scale: Bands) -> str:
    """Write ``flows.kernels.bands.index`` of ``x.taken``; NULL where the table has grades only."""
    if not scale.top.size:
        return "NULL::SMALLINT"
    value = f"least(x.taken, {double(scale.high[-1])})"
    bound = [f"WHEN x.taken <= {double(high)} THEN" for high in scale.high[:-1]]
    exact = [
        f"{double(slope)} * ({value} - {double(low)}) + {double(start)}"
        for slope, low, start in zip(scale.slope, scale.low, scale.start, strict=True)
    ]
    rounded = [
        f"floor(greatest({exact_index}, {double(floor)}) + {double(bands.HALF)})::SMALLINT"
        for exact_index, floor in zip(exact, scale.floor, strict=True)
    ]
    cases = " ".join(
        f"{when} {answer}" for when, answer in zip([*bound, "WHEN x.taken IS NOT NULL THEN"], rounded, strict=True)
    )
    return f"CASE {cases} END"


def grade_of(scale: Bands) -> str:
    """Write ``flows.kernels.bands.grade``, of ``x.index``, or of ``x.taken`` where the table has grades only."""
    what, ends = ("x.index", scale.top) if scale.top.size else ("x.taken", scale.high)
    cases = " ".join(f"WHEN {what} <= {double(end)} THEN {i}" for i, end in enumerate(ends[:-1], 1))
    return f"CASE WHEN {what} IS NOT NULL THEN (CASE {cases} ELSE {ends.size} END)::TINYINT END"
