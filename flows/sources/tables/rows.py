"""Rows of a delimited text file: its header, and chunks of lines without the empty ones."""

import csv
from pathlib import Path

from flows.sources.base import Place
from flows.sources.files.lines import Chunk, LineSplitter, open_bytes
from flows.sources.tables.cells import Cells, cut_cells
from flows.sources.tables.column_map import Layout
from schemas.errors import ConfigurationError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RowSplitter:
    """Cuts a delimited file into chunks of rows, and these into cells.

    Args:
        path: the file.
        layout: how it is cut.
        place: where reading begins; at its start that is behind the header.

    Raises:
        ConfigurationError: the file ends within its header, or lacks a column that the layout names.
    """

    def __init__(self, path: Path, layout: Layout, place: Place) -> None:
        self._layout = layout
        self._delimiter = layout.delimiter or ("\t" if ".tsv" in path.suffixes else ",")
        self._names, start = _header(path, layout, self._delimiter)
        for column, key in layout.columns().items():
            if self._names.count(column) != 1:
                known = ", ".join(self._names)
                raise ConfigurationError(
                    f"{path}: needs one column {column!r} ({key} of the map); its columns are {known}"
                )
        offset = max(start, place["offset"])
        self._lines = LineSplitter(open_bytes(path, offset), offset, unended=bool(place["unended"]))

    @property
    def unended(self) -> bool:
        """Whether the last line read lacked its newline."""
        return self._lines.unended

    def read(self, rows: int) -> Chunk | None:
        """Return up to ``rows`` lines without the empty ones, None at the end."""
        chunk = self._lines.read(rows)
        if chunk is None or chunk.too_large or not _has_empty(chunk.data):
            return chunk
        lines = [line for line in chunk.data.split(b"\n")[:-1] if line not in (b"", b"\r")]
        return chunk._replace(data=b"".join(line + b"\n" for line in lines), lines=len(lines))

    def cut(self, chunk: Chunk) -> Cells:
        """Cut rows into cells."""
        return cut_cells(chunk.data, chunk.lines, self._names, self._layout, self._delimiter)

    def pause(self) -> None:
        """Release what the operating system lends."""
        self._lines.pause()


def _has_empty(data: bytes) -> bool:
    return data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data


def _header(path: Path, layout: Layout, delimiter: str) -> tuple[list[str], int]:
    """Read the names of the columns, and where the first row begins."""
    lines = LineSplitter(open_bytes(path, 0))
    count = layout.skip_lines + (layout.names is None)
    text, marked = "", False
    for number in range(max(1, count)):
        chunk = lines.read(1)
        if chunk is None and count:
            raise ConfigurationError(f"{path}: ends before its header, line {count}")
        data = chunk.data if chunk else b""
        marked = marked or (number == 0 and layout.utf8 and data.startswith(BYTE_ORDER_MARK))
        text = data.decode(layout.encoding, "replace").removeprefix("\ufeff").rstrip("\r\n")
    lines.pause()
    start = lines.offset if count else len(BYTE_ORDER_MARK) * marked
    if layout.names is not None:
        return layout.names, start
    return [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])], start
