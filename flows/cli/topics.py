"""``cityair topics``: the topics a city needs, and who may do what with them."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from flows import settings
from flows.broker.connection import topic_name
from flows.cli.options import CityOption, ReportJsonOption
from flows.cli.render.values import UNBOUNDED
from schemas.durations import seconds
from schemas.errors import UsageError
from schemas.topics import PARTITIONS, TopicSpec, topic_specs
from sinks.kafka import acls as access
from sinks.kafka import admin as topic_admin
from sinks.kafka.acls import AccessRule
from sinks.kafka.admin import BrokerAdmin, Difference, PlanReport

app = typer.Typer(help="Make and check a city's topics on its Kafka broker.", no_args_is_help=True)

PartitionsOption = Annotated[
    int, typer.Option("--partitions", min=1, help="Partitions of the topics that much comes on.")
]
ReplicationOption = Annotated[
    int | None,
    typer.Option("--replication", min=1, help="Copies of each topic.", show_default="3, or as many as brokers"),
]


@app.command()
def create(
    city: CityOption = None,
    partitions: PartitionsOption = PARTITIONS,
    replication: ReplicationOption = None,
    as_json: ReportJsonOption = False,
) -> None:
    """Make the topics that the city needs and the broker has not; show what differs, and change nothing.

    Exit status 3 where something differs, 5 where no broker answers.

    \b
    cityair topics create --city city.toml
    """  # noqa: D301, \b keeps these lines apart
    admin = BrokerAdmin()
    report = topic_admin.create(admin, _specs(admin, city, partitions, replication))
    _print_report(report, as_json)


@app.command()
def check(
    city: CityOption = None,
    partitions: PartitionsOption = PARTITIONS,
    replication: ReplicationOption = None,
    as_json: ReportJsonOption = False,
) -> None:
    """Compare the broker's topics with those that the city needs; name those that would eat replayed years.

    Exit status 3 where something differs, 5 where no broker answers.

    \b
    cityair topics check --city city.toml
    cityair topics check --json
    """  # noqa: D301
    admin = BrokerAdmin()
    report = topic_admin.check(admin, _specs(admin, city, partitions, replication))
    _print_report(report, as_json)


@app.command()
def acls(
    role: Annotated[str | None, typer.Option(help="One role.", show_default="all")] = None,
    user: Annotated[str | None, typer.Option(help="Who gets it.", show_default="a user named as the role")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Give the broker the rules it lacks; as super user.")] = False,
    as_json: ReportJsonOption = False,
) -> None:
    """Print what each role may do on the broker, the least it needs, and give it those rules on demand.

    \b
    cityair topics acls --role light --user light-07 --apply
    """  # noqa: D301
    roles = access.select_roles(access.roles(), role)
    if user is not None and role is None:
        raise UsageError("--user needs --role: one user does not get every role")
    if user is not None and (not user or user == "*"):
        raise UsageError(f"--user {user!r} stands for nobody, or for everybody; name one user")
    rules = [rule for name, granted in roles.items() for rule in access.rules(granted, user or name)]
    new = access.apply(BrokerAdmin(), rules) if apply else []
    if as_json:
        typer.echo(msgspec.json.encode({"rules": rules, "applied": new}).decode())
        return
    for name, granted in roles.items():
        typer.echo(f"# {name}: {granted.about}")
        typer.echo("\n".join(rule_lines(access.rules(granted, user or name))))
    if apply:
        typer.echo(f"{len(new)} rules given now, {len(rules) - len(new)} were there")


def rule_lines(rules: list[AccessRule]) -> list[str]:
    """Write rules one a line.

    >>> rule_lines([AccessRule("light", "READ", "group", "light-", True)])
    ['User:light may READ group light-*']
    """
    return [
        f"User:{rule.user} may {rule.operation} {rule.kind} {rule.name}{'*' if rule.prefixed else ''}" for rule in rules
    ]


def _specs(admin: BrokerAdmin, city: Path | None, partitions: int, replication: int | None) -> list[TopicSpec]:
    horizon = seconds(settings.load_city(city).late.horizon)
    needed = topic_specs(horizon, partitions, topic_admin.replication_factor(replication, admin.brokers))
    return [msgspec.structs.replace(topic, name=topic_name(topic.name)) for topic in needed]


def _print_report(report: PlanReport, as_json: bool) -> None:
    """Print a report, and raise where something is not as needed."""
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        for name in report.created:
            typer.echo(f"made {name}")
        if report.differences:
            _print_differences(report.differences)
        for warning in report.warnings:
            typer.echo(f"warning: {warning}")
        if not report.differences:
            made = f"{len(report.created)} of them made now" if report.created else "none was missing"
            typer.echo(f"{len(report.topics)} topics at {report.servers} are as the city needs them, {made}")
    report.require()


def _print_differences(differences: list[Difference]) -> None:
    """Print a table of differences, and below it what follows from each and what to do."""
    rows = Table("topic", "setting", "is", "wanted", box=box.SIMPLE, pad_edge=False)
    for each in differences:
        rows.add_row(each.topic, each.setting, each.actual, each.needed)
    console = Console(file=sys.stdout, width=UNBOUNDED, highlight=False, markup=False)
    console.print(rows, crop=False, no_wrap=True)
    for why, cures in by_reason(differences).items():
        typer.echo(f"{why}:")
        typer.echo("\n".join(f"  {cure}" for cure in cures))


def by_reason(differences: list[Difference]) -> dict[str, list[str]]:
    """Cures by what follows from a difference, each once."""
    gathered: dict[str, list[str]] = {}
    for each in differences:
        cures = gathered.setdefault(f"{each.consequence[0].upper()}{each.consequence[1:]}", [])
        if each.remedy not in cures:
            cures.append(each.remedy)
    return gathered
