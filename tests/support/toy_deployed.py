"""The toy flow with its tables and topics among those of the project, for a process of its own."""

from schemas.tables import TABLES
from schemas.topics import TOPICS
from tests.support import toy

TABLES.update(toy.TOY_TABLES)
TOPICS.update(toy.TOY_TOPICS)
FLOW = toy.FLOW
