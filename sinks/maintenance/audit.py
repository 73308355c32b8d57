"""``audit``: the proof that every message of every input partition is in the lake once.

For each partition the offsets in ``rejects`` and in the tables of records together are contiguous but for the ledger's
gaps, what still waits, and what another flow takes; the epochs of each flow follow one another; sums of the ledger are
what the tables hold, reason by reason.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.rejected import REASONS
from schemas.tables import REJECTS_TABLE, record_tables
from sinks.catalog import catalog
from sinks.maintenance.report import Report

MAX_NAMED = 3
"""Offsets named per fault; the first few lead to the cause."""
MAX_EPOCHS = 20
"""Epochs of the ledger named as faulty; the first few lead to the cause."""
BUCKET_BITS = 16
"""Bits of an offset within a bucket: each bucket is a bitmap of 8 KiB, however many messages there are."""
TOTALS = (
    *("flow", "topic", "kpart", "first_offset", "last_offset", "received", "stored"),
    *("rejected", "duplicate", "too_late", "other", "gap", "waiting"),
)
"""Columns of ``ledger_totals`` that are proved."""
OFFSETS = "audited_offsets"
"""View of all offsets that the tables of records and ``rejects`` hold."""


PartitionKey = tuple[str, str, int]
"""Flow, topic and partition."""


class PartitionBalance(msgspec.Struct):
    """What the ledger says of an input partition to one flow, and what the tables hold of it.

    >>> records = {"air_readings": 4}
    >>> balance = PartitionBalance("air", "in.v1", 0, 5, 9, 5, 4, 1, 0, 0, 0, 0, 0, records=records, readings=4)
    >>> balance.name, balance.span, balance.offsets
    ('in.v1[0]', '5..9', 5)
    """

    flow: str
    topic: str
    kpart: int
    first_offset: int
    last_offset: int
    received: int
    stored: int
    rejected: int
    duplicate: int
    too_late: int
    other: int
    gap: int
    waiting: int
    readings: int = 0
    """Rows in the tables of records."""
    records: dict[str, int] = {}
    """The same by table; tables without any are left out."""
    reasons: dict[str, int] = {}
    """Rows of ``rejects``, by reason."""
    known: bool = True
    """The ledger has this partition."""

    @property
    def name(self) -> str:
        """Name of the partition in messages, with the flow where it is not air."""
        return f"{self.topic}[{self.kpart}]" + (f" of {self.flow}" if self.flow != "air" else "")

    @property
    def key(self) -> PartitionKey:
        """Flow, topic and number."""
        return self.flow, self.topic, self.kpart

    @property
    def absent(self) -> int:
        """Offsets that are in no table of the flow: missing at the broker, waiting, or passed over."""
        return self.gap + self.waiting + self.other

    @property
    def span(self) -> str:
        """First and last offset that the ledger covers."""
        return f"{self.first_offset}..{self.last_offset}"

    @property
    def offsets(self) -> int:
        """How many offsets the ledger covers."""
        return self.last_offset - self.first_offset + 1


class AuditReport(Report):
    """What ``audit`` found, and the balance of each input partition."""

    partitions: list[PartitionBalance] = msgspec.field(default_factory=list)


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
            relations = catalog.sources(con.snapshot)
            held = [
                f"SELECT '{flow}' AS flow, topic, kpart, koff FROM {relations[table]}"
                for table, flow in record_tables().items()
            ]
            offsets = " UNION ALL ".join([*held, f"SELECT flow, topic, kpart, koff FROM {REJECTS_TABLE}"])
            con.execute(f"CREATE OR REPLACE TEMP VIEW {OFFSETS} AS {offsets}")
            report = AuditReport(partitions=_balances(con, relations))
            for proof in (_epoch_faults, _sum_faults, _offset_faults):
                report.faults += proof(con, report.partitions)
            snapshot = con.snapshot
            if not report.faults:
                return report
            time.sleep(settle)
            con.refresh()
            if con.snapshot == snapshot:
                return report


def _balances(con: catalog.Catalog, relations: dict[str, str]) -> list[PartitionBalance]:
    """Read what the ledger and the tables say of each partition; those that the ledger does not know come last."""
    totals = con.execute(f"SELECT {', '.join(TOTALS)} FROM ledger_totals ORDER BY flow, kpart, topic").fetchall()
    listed = [dict(zip(TOTALS, row, strict=True)) for row in totals]
    records: dict[PartitionKey, dict[str, int]] = {}
    for table, flow in record_tables().items():
        query = f"SELECT topic, kpart, count(*) FROM {relations[table]} GROUP BY ALL"
        for topic, kpart, count in con.execute(query).fetchall():
            records.setdefault((flow, topic, kpart), {})[table] = count
    reasons: dict[PartitionKey, dict[str, int]] = {}
    query = f"SELECT flow, topic, kpart, reason, count(*) FROM {REJECTS_TABLE} GROUP BY ALL"
    for flow, topic, kpart, reason, count in con.execute(query).fetchall():
        reasons.setdefault((flow, topic, kpart), {})[reason] = count
    unknown = sorted((records.keys() | reasons.keys()) - {(row["flow"], row["topic"], row["kpart"]) for row in listed})
    for flow, topic, kpart in unknown:
        listed.append({**dict.fromkeys(TOTALS, 0), "flow": flow, "topic": topic, "kpart": kpart, "known": False})
    balances = []
    for row in listed:
        key = row["flow"], row["topic"], row["kpart"]
        by_table, by_reason = records.get(key, {}), reasons.get(key, {})
        balances.append(PartitionBalance(**row, readings=sum(by_table.values()), records=by_table, reasons=by_reason))
    return balances


def _epoch_faults(con: catalog.Catalog, _: list[PartitionBalance]) -> Iterator[str]:
    """Find epochs that do not follow one another, or do not add up."""
    query = f"""
    FROM (
        SELECT *, lag(last_offset) OVER (PARTITION BY flow, topic, kpart ORDER BY first_offset, last_offset) AS before
        FROM ledger
    )
    SELECT
        flow, topic, kpart, first_offset, last_offset, before, received,
        stored + rejected + duplicate + too_late AS judged
    WHERE first_offset <> before + 1
        OR last_offset < first_offset - 1
        OR received <> judged
        OR least(stored, rejected, duplicate, too_late, other, gap, waiting) < 0
    ORDER BY flow, topic, kpart, first_offset
    LIMIT {MAX_EPOCHS}
    """
    for flow, topic, kpart, first, last, before, received, judged in con.execute(query).fetchall():
        of_flow = f" of {flow}" if flow != "air" else ""
        epoch = f"{topic}[{kpart}]{of_flow}: ledger epoch {first}..{last}"
        if before is not None and first != before + 1:
            relation = "overlaps it" if first <= before else f"offsets {before + 1}..{first - 1} are in no epoch"
            yield f"{epoch}: the epoch before it ends at offset {before}; {relation}"
        elif received != judged:
            yield f"{epoch}: received {received}, but stored + rejected + duplicate + too_late = {judged}"
        else:
            yield f"{epoch}: has a negative count, or ends before it begins"


def _sum_faults(_: Any, partitions: list[PartitionBalance]) -> Iterator[str]:
    """Find sums of the ledger that are not what the tables hold."""
    for balance in partitions:
        if not balance.known:
            rows = balance.readings + sum(balance.reasons.values())
            yield f"{balance.name}: {rows} rows, but the ledger has no such partition"
            continue
        unknown = sorted(balance.reasons.keys() - set(REASONS))
        if unknown:
            yield f"{balance.name}: rejects has reasons that do not exist: {', '.join(unknown)}"
        counts = {reason: balance.reasons.get(reason, 0) for reason in ("duplicate", "too_late")}
        counts["rejected"] = sum(balance.reasons.values()) - sum(counts.values())
        counts["stored"] = balance.readings
        for column, count in counts.items():
            logged = getattr(balance, column)
            if logged != count:
                tables = " and ".join(balance.records or record_tables()) if column == "stored" else REJECTS_TABLE
                yield f"{balance.name}: the ledger says {column} = {logged}, {tables} holds {count}"
        expected = balance.offsets - balance.gap - balance.other
        if balance.received + balance.waiting != expected:
            less = f"a gap of {balance.gap}" + (f" and {balance.other} of other flows" if balance.other else "")
            yield (
                f"{balance.name}: offsets {balance.span} less {less} are {expected} messages, but "
                f"received {balance.received} + waiting {balance.waiting} = {balance.received + balance.waiting}"
            )


def _offset_faults(con: catalog.Catalog, partitions: list[PartitionBalance]) -> Iterator[str]:
    """Find offsets that are missing, there twice, or outside the ledger."""
    query = f"""
    SELECT
        flow,
        topic,
        kpart,
        koff >> {BUCKET_BITS} AS bucket,
        count(*) AS n,
        bit_count(bitstring_agg((koff & {(1 << BUCKET_BITS) - 1})::INTEGER, 0, {(1 << BUCKET_BITS) - 1})) AS distinct_n,
        min(koff),
        max(koff)
    FROM {OFFSETS}
    GROUP BY ALL
    ORDER BY ALL
    """
    buckets: dict[PartitionKey, list[tuple[int, ...]]] = {}
    for flow, topic, kpart, *bucket in con.execute(query).fetchall():
        buckets.setdefault((flow, topic, kpart), []).append(tuple(bucket))
    for balance in partitions:
        of_partition = buckets.get(balance.key, [])
        doubled = [bucket for bucket, n, distinct, *_ in of_partition if n != distinct]
        if doubled:
            yield from _doubled(con, balance, doubled[0])
        elif balance.known:
            if of_partition:
                lowest = min(low for *_, low, _ in of_partition)
                highest = max(high for *_, high in of_partition)
                for offset in (lowest, highest):
                    if not balance.first_offset <= offset <= balance.last_offset:
                        yield f"{balance.name}: offset {offset} is outside the ledger's {balance.span}"
            missing = balance.offsets - sum(distinct for _, _, distinct, *_ in of_partition)
            if balance.gap or missing != balance.absent:
                yield from _missing(con, balance, missing)


def _doubled(con: catalog.Catalog, balance: PartitionBalance, bucket: int) -> Iterator[str]:
    """Name offsets of a bucket that are there more than once."""
    query = f"""
    SELECT koff, count(*) FROM {OFFSETS} WHERE flow = ? AND topic = ? AND kpart = ? AND koff >> {BUCKET_BITS} = ?
    GROUP BY koff HAVING count(*) > 1 ORDER BY koff LIMIT {MAX_NAMED}
    """
    for offset, count in con.execute(query, [*balance.key, bucket]).fetchall():
        yield f"{balance.name}: offset {offset} is there {count} times"


def _missing(con: catalog.Catalog, balance: PartitionBalance, missing: int) -> Iterator[str]:
    """Compare what each epoch lacks with its gap; what waits may be of any epoch."""
    same = "flow = $flow AND topic = $topic AND kpart = $kpart"
    query = f"""
    WITH
    epoch AS (FROM ledger WHERE {same} AND last_offset >= first_offset),
    held AS (SELECT koff FROM {OFFSETS} WHERE {same}),
    counts AS (SELECT first_offset, count(*) AS n FROM held ASOF JOIN epoch ON koff >= first_offset GROUP BY ALL)
    SELECT first_offset, last_offset, last_offset - first_offset + 1 - coalesce(n, 0) - other AS missing, gap
    FROM epoch LEFT JOIN counts USING (first_offset)
    WHERE missing < gap OR missing > gap AND $all_judged
    ORDER BY first_offset
    LIMIT {MAX_NAMED}
    """
    partition = {"flow": balance.flow, "topic": balance.topic, "kpart": balance.kpart}
    epochs = con.execute(query, {**partition, "all_judged": missing > balance.absent}).fetchall()
    for first, last, lacking, gap in epochs:
        absent = con.execute(
            f"SELECT koff FROM range($first, $last + 1) AS due(koff) ANTI JOIN (SELECT koff FROM {OFFSETS} "
            f"WHERE {same} AND koff BETWEEN $first AND $last) USING (koff) "
            f"ORDER BY koff LIMIT {MAX_NAMED}",
            {**partition, "first": first, "last": last},
        ).fetchall()
        named = ", ".join(str(offset) for [offset] in absent)
        yield f"{balance.name}: epoch {first}..{last} lacks {lacking} offsets ({named or 'none'}), its gap is {gap}"
    if not epochs and missing != balance.absent:
        parts = f"gap {balance.gap} + waiting {balance.waiting}" + (
            f" + other {balance.other}" if balance.other else ""
        )
        yield f"{balance.name}: lacks {missing} offsets, but {parts} are {balance.absent}"
