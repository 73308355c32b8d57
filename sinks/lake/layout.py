"""Where things lie in a lake: the folder beside the tables, and the names of data files."""

import re
from typing import NamedTuple

META_FOLDER = "_cityair"
"""Folder of the lake for what is not a table: identity, city, locks and, by default, recovery stores."""
CITY_FILE = f"{META_FOLDER}/city.json"
"""The city of the newest run."""
IDENTITY_FILE = f"{META_FOLDER}/identity"
"""A text by which a recovery store knows the lake again."""
WRITER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names that writers may have."""
DATA_FILE = re.compile(rf"({WRITER.pattern})-(\d{{8,}})-([0-9a-f]{{12}})\.parquet")


class DataFileName(NamedTuple):
    """Name of a data file: its writer, the sequence P of its epoch, and a part that makes it unique.

    A name belongs to one writer only, even where the name of a writer begins with that of another.

    >>> DataFileName("air", 7, "0123456789ab").text
    'air-00000007-0123456789ab.parquet'
    >>> DataFileName.parse("air-1-00000007-0123456789ab.parquet")
    DataFileName(writer='air-1', sequence=7, unique='0123456789ab')
    >>> DataFileName.parse("compact-0123456789ab.parquet") is None
    True
    """

    writer: str
    sequence: int
    unique: str

    @property
    def text(self) -> str:
        """The name in the table's folder."""
        return f"{file_prefix(self.writer, self.sequence)}-{self.unique}.parquet"

    @classmethod
    def parse(cls, text: str) -> "DataFileName | None":
        """Return the parts of a name; None if no writer writes such a name."""
        match = DATA_FILE.fullmatch(text)
        return cls(match[1], int(match[2]), match[3]) if match else None


def file_prefix(writer: str, sequence: int) -> str:
    """Start of the names of an epoch's data files.

    >>> file_prefix("air.8.03", 41)
    'air.8.03-00000041'
    """
    return f"{writer}-{sequence:08d}"


def check_writer(writer: str) -> None:
    """Refuse a name of a writer that file names cannot bear.

    Raises:
        ValueError: the name is empty, or has characters other than letters, digits, dots, dashes and underscores.
    """
    if not WRITER.fullmatch(writer):
        raise ValueError(f"{writer!r} is no name of a writer: letters, digits, '.', '-' and '_', a letter first")
