"""Kinds of records, as a flow of odor takes them, and records of them."""

from datetime import UTC, datetime

from msgspec import structs

from flows.decode.batch import Record
from schemas.measured import Recorded
from schemas.odor import OdorReport
from schemas.patrol import PatrolAck
from schemas.slots import EPOCH, MICROSECOND

REPORT = Recorded(
    "env.odor.report.v1",
    "odor_reports",
    "report_id",
    "reported_at",
    OdorReport,
    retained=lambda report: structs.replace(report, text=""),
)
"""Personal: of its text nothing stays in the state."""
ACK = Recorded("env.patrol.ack.v1", "patrol_acks", "task_id", "acknowledged_at", PatrolAck)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def report(name, *, at=AT, text="it smells"):
    return Record(REPORT, OdorReport(report_id=name, reported_at=at, lat=35.2, lon=128.9, text=text))


def ack(name, *, at=AT):
    return Record(ACK, PatrolAck(task_id=name, acknowledged_at=at))


def micros_of(record):
    """The time of a record, microseconds since 1970."""
    return (getattr(record.data, record.kind.time_field) - EPOCH) // MICROSECOND
