"""``cityair lake``: proofs and upkeep of a lake."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from flows.cli.options import ReportJsonOption
from schemas.errors import UsageError
from schemas.tables import record_tables
from sinks.catalog import catalog
from sinks.maintenance.audit import AuditReport
from sinks.maintenance.audit import audit as audit_lake
from sinks.maintenance.check import CheckReport
from sinks.maintenance.check import check as check_lake
from sinks.maintenance.compact import compact as compact_lake
from sinks.maintenance.compact import vacuum as vacuum_lake

app = typer.Typer(help="Prove that a lake is whole, and look after it.", no_args_is_help=True)

LakeOption = Annotated[Path, typer.Option("--lake", envvar="CITYAIR_LAKE", help="Directory of the lake.")]


@app.command()
def audit(lake: LakeOption, as_json: ReportJsonOption = False) -> None:
    """Prove from the files that every message is in the lake once, and that the ledger's books balance.

    Exit status 4 where they do not. After a kill, start the run again first: it commits what was pending.
    """
    report = audit_lake(lake)
    print_report(report, as_json, audit_lines(report))
    report.require()


@app.command()
def check(lake: LakeOption, as_json: ReportJsonOption = False) -> None:
    """Look whether every file of every table is there, readable, and what the table's log says.

    Exit status 4 where something is broken; warnings leave it 0.
    """
    report = check_lake(lake)
    print_report(report, as_json, check_lines(report))
    report.require()


@app.command()
def compact(
    lake: LakeOption,
    before: Annotated[str | None, typer.Option(help="Join days before this date; default: yesterday.")] = None,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Remove files replaced over 24 h ago, too.")] = False,
) -> None:
    """Join the files of each day into one, sorted by the table's key. A run may go on meanwhile."""
    try:
        day = None if before is None else datetime.strptime(before, "%Y-%m-%d").date()
    except ValueError as err:
        raise UsageError(f"--before {before!r} is no date; write it as 2026-11-22") from err
    typer.echo(file_counts("joined", compact_lake(lake, day)))
    if vacuum:
        typer.echo(file_counts("removed", vacuum_lake(lake)))


@app.command()
def views(lake: LakeOption) -> None:
    """Print SQL that makes the catalog's views in a plain DuckDB with its delta extension.

    cityair lake views --lake lake | duckdb lake.duckdb
    """
    sys.stdout.write(catalog.portable_views(lake))


def print_report(report: AuditReport | CheckReport, as_json: bool, lines: list[str]) -> None:
    """Print a report; its faults are in the error that follows."""
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
        return
    verdict = f"{len(report.faults)} faults" if report.faults else "nothing is missing, nothing is there twice"
    if isinstance(report, CheckReport):
        verdict = f"{len(report.faults)} faults, {len(report.warnings)} warnings"
    typer.echo("\n".join([*lines, *(f"warning: {warning}" for warning in report.warnings), verdict]))


def audit_lines(report: AuditReport) -> list[str]:
    """Offset accounting of each partition, and its refusals by reason."""
    lines = []
    for balance in report.partitions:
        judged = f"stored {balance.stored:,} + rejected {balance.rejected:,} + duplicate {balance.duplicate:,}"
        of_flow = [table for table, flow in record_tables().items() if flow == balance.flow]
        records = balance.records or dict.fromkeys(of_flow, 0)
        lines += [
            f"{balance.name}: offsets {balance.span}, gap {balance.gap:,}, waiting {balance.waiting:,}",
            f"  received {balance.received:,} = {judged} + too late {balance.too_late:,}",
            *(f"  {table} holds {count:,}" for table, count in records.items()),
            *(f"  rejects holds {count:,} {reason}" for reason, count in sorted(balance.reasons.items())),
        ]
    return lines


def file_counts(what: str, files: dict[str, int]) -> str:
    """Report how many files of each table were joined or removed.

    >>> file_counts("joined", {"flags": 0, "rolling": 1200})
    'rolling: 1,200 files joined'
    """
    return (
        "\n".join(f"{table}: {count:,} files {what}" for table, count in files.items() if count) or f"no files {what}"
    )


def check_lines(report: CheckReport) -> list[str]:
    """Size of each table."""
    return [
        f"{name}: {size['files']:,} files, {size['rows']:,} rows, {size['bytes'] / 1e6:,.1f} MB"
        for name, size in report.tables.items()
    ]
