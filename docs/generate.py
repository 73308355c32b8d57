"""Write the pages that are made from the code: `python docs/generate.py`; `--print` shows them instead."""

import sys
from pathlib import Path

import duckdb

from schemas.city import City, Identity
from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.catalog.relations import sql_type
from sinks.catalog.snapshot import Snapshot

HERE = Path(__file__).parent


def tables() -> str:
    """Every table of the lake with its columns, and every view with what it answers."""
    lines = [
        "# Tables and views",
        "",
        "Made from `schemas/tables.py` and `sinks/catalog/views/` by `python docs/generate.py`; a test compares.",
        "",
        "Ask them with `cityair sql`, or `sinks.catalog.connect(lake)` in Python. Times are shown in the city's zone.",
        "Every table has `dt` (DATE), the local day of its time less 1 µs: hour 24 belongs to its day.",
    ]
    for name, table in TABLES.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"One row is {table.doc}. Dated by `{table.time}`; key: {', '.join(f'`{k}`' for k in table.key)}.",
            "",
        ]
        lines += ["| column | type | holds |", "| --- | --- | --- |"]
        lines += [f"| {f.name} | {short(sql_type(f.type))} | {f.metadata[b'doc'].decode()} |" for f in table.schema]
    lines += ["", "## Views", "", "| view | answers | columns |", "| --- | --- | --- |"]
    with duckdb.connect() as con:
        empty = Snapshot(HERE, City(city=Identity(id="none", name="", timezone="UTC"), stations=[]), {})
        for statement in catalog.create_views(catalog.sources(empty)):
            con.execute(statement)
        for view in sorted(catalog.views()):
            columns = [column for column, *_ in con.execute(f"DESCRIBE {view.name}").fetchall()]
            plain = {*columns} == columns_of(view.name)
            lines.append(f"| `{view.name}` | {view.doc} | {'as the table' if plain else ', '.join(columns)} |")
    return "\n".join(lines) + "\n"


def columns_of(name: str) -> set[str]:
    """Columns of the table a view shows as it is."""
    table = TABLES.get(name.removesuffix("_history"))
    return {*table.schema.names, "dt"} if table else set()


def short(kind: str) -> str:
    """Name a type as people do."""
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(tables())
    else:
        (HERE / "tables.md").write_text(tables(), encoding="utf-8")
