"""The proof that a lake's books balance: every message of every input partition is in it once.

For each partition the offsets in ``air_readings`` and ``rejects`` together are contiguous but for the ledger's gaps and
what still waits; the ledger's epochs follow one another; its sums are what the tables hold, reason by reason.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import ContractError
from schemas.rejected import REASONS
from sinks.catalog import catalog

NAMED = 3
"""Offsets named per fault; the first few lead to the cause."""
BUCKET = 16
"""Bits of an offset within a bucket: each bucket is a bitmap of 8 KiB, however many readings there are."""
SUMS = (
    *("topic", "kpart", "first_offset", "last_offset", "received", "stored"),
    *("rejected", "duplicate", "too_late", "gap", "waiting"),
)
"""Columns of ``ledger_totals`` that are proved."""
OFFSETS = "(SELECT topic, kpart, koff FROM air_readings UNION ALL SELECT topic, kpart, koff FROM rejects)"


class Books(msgspec.Struct):
    """What the ledger says of one input partition, and what the tables hold of it."""

    topic: str
    kpart: int
    first_offset: int
    last_offset: int
    received: int
    stored: int
    rejected: int
    duplicate: int
    too_late: int
    gap: int
    waiting: int
    readings: int = 0
    """Rows of ``air_readings``."""
    reasons: dict[str, int] = {}
    """Rows of ``rejects``, by reason."""
    known: bool = True
    """The ledger has this partition."""

    @property
    def name(self) -> str:
        """How messages call the partition."""
        return f"{self.topic}[{self.kpart}]"


class Report(msgspec.Struct):
    """What was found: ``faults`` break a promise, ``warnings`` do not."""

    faults: list[str] = []
    warnings: list[str] = []

    def require(self) -> None:
        """Let faults be heard.

        Raises:
            ContractError: there are any; the message has them all.
        """
        if self.faults:
            raise ContractError("\n".join(self.faults))


class AuditReport(Report):
    """The books of a lake, partition by partition."""

    partitions: list[Books] = []


def audit(lake: str | Path, *, settle: float = 0.5) -> AuditReport:
    """Prove from the files that nothing disappeared and nothing is there twice.

    A flow commits its ledger after its other tables: where a lake moves within ``settle`` seconds, it is read again.

    Args:
        lake: directory of the lake.
        settle: seconds.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    with catalog.connect(lake) as con:
        con.execute("SET memory_limit = '1GB'")
        while True:
            report = AuditReport(partitions=list(_books(con)))
            report.faults += [fault for step in (_epochs, _sums, _offsets) for fault in step(con, report.partitions)]
            before = con.snapshot
            if not report.faults:
                return report
            time.sleep(settle)
            con.refresh()
            if con.snapshot == before:
                return report


def _books(con: Any) -> Iterator[Books]:
    rows = con.execute(f"SELECT {', '.join(SUMS)} FROM ledger_totals ORDER BY kpart, topic").fetchall()
    readings = _counts(con, "SELECT topic, kpart, '', count(*) FROM air_readings GROUP BY ALL")
    reasons = _counts(con, "SELECT topic, kpart, reason, count(*) FROM rejects GROUP BY ALL")
    listed = [dict(zip(SUMS, row, strict=True)) for row in rows]
    unknown = sorted((readings.keys() | reasons.keys()) - {(row["topic"], row["kpart"]) for row in listed})
    for topic, kpart in unknown:
        listed.append({**dict.fromkeys(SUMS, 0), "topic": topic, "kpart": kpart, "known": False})
    for row in listed:
        key = (row["topic"], row["kpart"])
        yield Books(**row, readings=readings.get(key, {}).get("", 0), reasons=reasons.get(key, {}))


def _counts(con: Any, query: str) -> dict[tuple[str, int], dict[str, int]]:
    found: dict[tuple[str, int], dict[str, int]] = {}
    for topic, kpart, reason, count in con.execute(query).fetchall():
        found.setdefault((topic, kpart), {})[reason] = count
    return found


def _epochs(con: Any, _: list[Books]) -> Iterator[str]:
    """Find epochs that do not follow one another, or do not add up."""
    query = """
    FROM (
        SELECT *, lag(last_offset) OVER (PARTITION BY topic, kpart ORDER BY first_offset, last_offset) AS before
        FROM ledger
    )
    SELECT topic, kpart, first_offset, last_offset, before, received, stored + rejected + duplicate + too_late AS judged
    WHERE first_offset <> before + 1
        OR last_offset < first_offset - 1
        OR received <> judged
        OR least(stored, rejected, duplicate, too_late, gap, waiting) < 0
    ORDER BY topic, kpart, first_offset
    LIMIT 20
    """
    for topic, kpart, first, last, before, received, judged in con.execute(query).fetchall():
        where = f"{topic}[{kpart}]: ledger epoch {first}..{last}"
        if before is not None and first != before + 1:
            relation = "overlaps it" if first <= before else f"offsets {before + 1}..{first - 1} are in no epoch"
            yield f"{where}: the epoch before it ends at offset {before}; {relation}"
        elif received != judged:
            yield f"{where}: received {received}, but stored + rejected + duplicate + too_late = {judged}"
        else:
            yield f"{where}: has a negative count, or ends before it begins"


def _sums(_: Any, partitions: list[Books]) -> Iterator[str]:
    """Find sums of the ledger that are not what the tables hold."""
    for books in partitions:
        if not books.known:
            rows = books.readings + sum(books.reasons.values())
            yield f"{books.name}: {rows} rows, but the ledger has no such partition"
            continue
        unknown = sorted(books.reasons.keys() - set(REASONS))
        if unknown:
            yield f"{books.name}: rejects has reasons that do not exist: {', '.join(unknown)}"
        held = {name: books.reasons.get(name, 0) for name in ("duplicate", "too_late")}
        held["rejected"] = sum(books.reasons.values()) - sum(held.values())
        held["stored"] = books.readings
        for name, count in held.items():
            if getattr(books, name) != count:
                table = "air_readings" if name == "stored" else "rejects"
                yield f"{books.name}: the ledger says {name} = {getattr(books, name)}, {table} holds {count}"
        due = books.last_offset - books.first_offset + 1 - books.gap
        if books.received + books.waiting != due:
            yield (
                f"{books.name}: offsets {books.first_offset}..{books.last_offset} less a gap of {books.gap} are {due} "
                f"messages, but received {books.received} + waiting {books.waiting} = {books.received + books.waiting}"
            )


def _offsets(con: Any, partitions: list[Books]) -> Iterator[str]:
    """Find offsets that are missing, there twice, or outside the ledger."""
    query = f"""
    SELECT
        topic,
        kpart,
        koff >> {BUCKET} AS bucket,
        count(*) AS n,
        bit_count(bitstring_agg((koff & {(1 << BUCKET) - 1})::INTEGER, 0, {(1 << BUCKET) - 1})) AS different,
        min(koff),
        max(koff)
    FROM {OFFSETS}
    GROUP BY ALL
    ORDER BY ALL
    """
    buckets: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    for topic, kpart, *bucket in con.execute(query).fetchall():
        buckets.setdefault((topic, kpart), []).append(tuple(bucket))
    for books in partitions:
        found = buckets.get((books.topic, books.kpart), [])
        doubled = [bucket for bucket, n, different, *_ in found if n != different]
        if doubled:
            yield from _twice(con, books, doubled[0])
        elif books.known:
            for offset in (min((low for *_, low, _ in found), default=0), max((high for *_, high in found), default=0)):
                if found and not books.first_offset <= offset <= books.last_offset:
                    ledger = f"{books.first_offset}..{books.last_offset}"
                    yield f"{books.name}: offset {offset} is outside the ledger's {ledger}"
            missing = books.last_offset - books.first_offset + 1 - sum(different for _, _, different, *_ in found)
            if books.gap or missing != books.waiting:
                yield from _holes(con, books, missing)


def _twice(con: Any, books: Books, bucket: int) -> Iterator[str]:
    query = f"""
    SELECT koff, count(*) FROM {OFFSETS} WHERE topic = ? AND kpart = ? AND koff >> {BUCKET} = ?
    GROUP BY koff HAVING count(*) > 1 ORDER BY koff LIMIT {NAMED}
    """
    for offset, count in con.execute(query, [books.topic, books.kpart, bucket]).fetchall():
        yield f"{books.name}: offset {offset} is there {count} times"


def _holes(con: Any, books: Books, missing: int) -> Iterator[str]:
    """Compare what each epoch lacks with its gap; what waits may be of any epoch."""
    query = f"""
    WITH
    epoch AS (FROM ledger WHERE topic = $topic AND kpart = $kpart AND last_offset >= first_offset),
    mine AS (SELECT koff FROM {OFFSETS} WHERE topic = $topic AND kpart = $kpart),
    held AS (SELECT first_offset, count(*) AS n FROM mine ASOF JOIN epoch ON koff >= first_offset GROUP BY first_offset)
    SELECT first_offset, last_offset, last_offset - first_offset + 1 - coalesce(n, 0) AS missing, gap
    FROM epoch LEFT JOIN held USING (first_offset)
    WHERE missing < gap OR missing > gap AND $all_judged
    ORDER BY first_offset
    LIMIT {NAMED}
    """
    names = {"topic": books.topic, "kpart": books.kpart}
    epochs = con.execute(query, {**names, "all_judged": missing > books.gap + books.waiting}).fetchall()
    for first, last, lacking, gap in epochs:
        absent = con.execute(
            f"SELECT koff FROM range($first, $last + 1) AS due(koff) ANTI JOIN (SELECT koff FROM {OFFSETS} "
            f"WHERE topic = $topic AND kpart = $kpart AND koff BETWEEN $first AND $last) USING (koff) "
            f"ORDER BY koff LIMIT {NAMED}",
            {**names, "first": first, "last": last},
        ).fetchall()
        at = ", ".join(str(offset) for [offset] in absent)
        yield f"{books.name}: epoch {first}..{last} lacks {lacking} offsets ({at or 'none'}), its gap is {gap}"
    due = books.gap + books.waiting
    if not epochs and missing != due:
        yield f"{books.name}: lacks {missing} offsets, but gap {books.gap} + waiting {books.waiting} are {due}"
