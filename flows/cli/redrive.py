"""``cityair redrive``: dead letters to their topic again, once their cause is mended."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from flows.cli.options import ReportJsonOption
from flows.outputs.events import NO_DEAD_LETTER
from schemas.errors import UsageError
from schemas.rejected import REASONS
from schemas.topics import TOPICS, dead_letter_topic
from sinks.kafka.redrive import DeadLetterQueue, RedriveReport, RedriveRequest

INPUT_TOPICS = tuple(name for name, topic in TOPICS.items() if topic.direction == "in")
REDRIVABLE = tuple(reason for reason in REASONS if reason not in NO_DEAD_LETTER)
"""Reasons of refusal that leave a dead letter."""


def redrive(
    topic: Annotated[
        list[str] | None,
        typer.Argument(help="Topics whose dead letters to send again.", show_default="every input topic"),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(help=f"Only those refused for this; may be given several times: {', '.join(REDRIVABLE)}."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most so many of each topic.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and change nothing.")] = False,
    as_json: ReportJsonOption = False,
) -> None:
    """Send dead letters to their topic again, once their cause is mended: original bytes, key and headers.

    Each is sent exactly once, even where this is killed on the way. Letters that were not asked for stay.

    \b
    cityair redrive --dry-run
    cityair redrive env.air.reading.v1 --reason unknown_station
    """  # noqa: D301, \b keeps these lines apart
    for name in topic or ():
        if name not in INPUT_TOPICS:
            raise UsageError(f"no dead letters are kept for {name!r}; known: {', '.join(INPUT_TOPICS)}")
    for name in reason or ():
        if name not in REDRIVABLE:
            raise UsageError(f"--reason {name}: unknown; known are {', '.join(REDRIVABLE)}")
    request = RedriveRequest(frozenset(reason or ()), limit)
    reports = []
    for name in topic or INPUT_TOPICS:
        queue = DeadLetterQueue(name)
        try:
            report = queue.survey(request) if dry_run else queue.redrive(request)
        finally:
            queue.close()
        reports.append(report)
        if not as_json:
            typer.echo("\n".join(report_lines(report, dry_run=dry_run)))
    if as_json:
        typer.echo(msgspec.json.encode({"dry_run": dry_run, "topics": reports}).decode())


def report_lines(report: RedriveReport, *, dry_run: bool) -> Iterator[str]:
    """Report what became of a topic's dead letters.

    >>> list(report_lines(RedriveReport("t", {"contract": 2}, {"future": 1}), dry_run=False))
    ['t: sent 2 contract', '  kept 1 future']
    """
    if not (report.sent or report.kept or report.cut):
        yield f"{report.topic}: no dead letters"
        return
    yield f"{report.topic}: {'would send' if dry_run else 'sent'} {_reason_counts(report.sent) or 'nothing'}"
    if report.kept:
        yield f"  kept {_reason_counts(report.kept)}"
    if report.cut:
        yield f"  kept {report.cut:,} that cannot be sent again: of a message too large only the beginning was kept"
    if report.put_back:
        yield f"  {report.put_back:,} of those kept moved to the end of {dead_letter_topic(report.topic)}"


def _reason_counts(by_reason: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(by_reason.items()))
