"""Lines of one layout, all at once: what a device writes differs from line to line only in its values.

The layout is learned from a line: its text between the values, and which field stands in which gap. Lines whose text
is the same byte for byte are then read as columns, without making an object of any. Every other line (another
layout, a null, an unknown field, an exponent, an escape, garbage) is left to the decoder that reads one by one, so
that nothing is ever accepted here that it would refuse, and no value differs.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.arrivals import F64, I64
from schemas.reading import VALUES

QUOTE, NEWLINE, MINUS, DOT, ZERO = b'"\n-.0'
TEXTS = ("station_id", "observed_at")
STATUS = "status"
NUMBERS = (*VALUES, STATUS)
WORD = 8
"""Bytes compared at once."""
TEXT_WORDS = 4
PAD = 32
"""Bytes before and after the text, so that no window reaches past it."""
POWERS = 10.0 ** np.arange(WORD + 1)

ONE, EIGHT, LAST_BYTE = np.uint64(1), np.uint64(8), np.uint64(0xFF)
LOW_BITS, HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
ZEROS, POINTS, ABOVE_NINE = np.uint64(ZERO) * LOW_BITS, np.uint64(DOT) * LOW_BITS, np.uint64(0x76) * LOW_BITS
PAIRS, FOURS, EIGHTS = np.uint64(10 * 2**8 + 1), np.uint64(100 * 2**16 + 1), np.uint64(10_000 * 2**32 + 1)
"""Each joins neighbours: ten times the lower, earlier part plus the higher."""

_TOKEN = re.compile(
    rb'"(?P<key>\w+)"(?P<colon>[ ]?:[ ]?)(?:"(?P<text>[^"\\\n]*)"|(?P<number>-?\d[\d.]*))(?P<comma>,[ ]?|\})'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The text around the values of a line: ``literals[i]`` stands before value i, the last one after all."""

    literals: tuple[bytes, ...]
    fields: tuple[str, ...]

    @property
    def quotes(self) -> int:
        """Quotes in a line of this layout."""
        return sum(literal.count(b'"') for literal in self.literals)


def learn(line: bytes) -> Layout | None:
    """Learn the layout of a line; None where its values are not all plain texts and numbers of known fields."""
    literals, fields, literal, at = [], [], b"{", 1
    if line[:1] != b"{":
        return None
    while token := _TOKEN.match(line, at):
        field = token["key"].decode("ascii", "replace")
        is_text = token["text"] is not None
        if field in fields or field not in (TEXTS if is_text else NUMBERS):
            return None
        fields.append(field)
        literals.append(literal + b'"' + token["key"] + b'"' + token["colon"] + (b'"' if is_text else b""))
        literal = (b'"' if is_text else b"") + token["comma"]
        at = token.end()
        if token["comma"] == b"}":
            break
    whole = at == len(line) and literal.endswith(b"}") and set(TEXTS) <= set(fields)
    return Layout((*literals, literal), tuple(fields)) if whole else None


@dataclass(slots=True)
class Table:
    """Values of the lines that have the layout.

    Attributes:
        rows: numbers of those lines, shape (r,).
        texts: start and end of each text, in the chunk, shape (r,).
        numbers: of each number field present, shape (r,).
    """

    rows: I64
    texts: dict[str, tuple[I64, I64]]
    numbers: dict[str, F64]


class Lines:
    """A chunk of whole lines, and where its quotes are.

    Args:
        chunk: lines, each ended by a newline.
    """

    def __init__(self, chunk: bytes) -> None:
        self._buffer = np.zeros(len(chunk) + 2 * PAD, np.uint8)
        self._buffer[PAD:-PAD] = np.frombuffer(chunk, np.uint8)
        self._words = np.ndarray((self._buffer.size - WORD + 1,), np.uint64, self._buffer, strides=(1,))
        self._ends = np.flatnonzero(self._buffer == NEWLINE)
        self._starts = np.concatenate([[PAD], self._ends[:-1] + 1])
        self._quotes = np.flatnonzero(self._buffer == QUOTE)
        self._upto = np.searchsorted(self._quotes, self._ends)

    def bounds(self, row: int) -> tuple[int, int]:
        """Where a line starts and ends in the chunk."""
        return int(self._starts[row]) - PAD, int(self._ends[row]) - PAD

    def read(self, layout: Layout, rows: I64) -> Table:
        """Read those of ``rows`` that have the layout."""
        first = np.concatenate([[0], self._upto[:-1]])[rows]
        rows, first = (part[self._upto[rows] - first == layout.quotes] for part in (rows, first))
        starts = self._literal_starts(layout, rows, first)
        good = (starts[0] == self._starts[rows]) & (starts[-1] + len(layout.literals[-1]) == self._ends[rows])
        for literal, start in zip(layout.literals, starts, strict=True):
            good &= self._matches(literal, start)
        texts: dict[str, tuple[I64, I64]] = {}
        numbers: dict[str, F64] = {}
        for i, field in enumerate(layout.fields):
            begin, end = starts[i] + len(layout.literals[i]), starts[i + 1]
            if field in TEXTS:
                texts[field] = (begin, end)
            else:
                numbers[field], plain, pointed = self._number(begin, end)
                good &= plain
                if field == STATUS:  # a whole number that fits a byte, or it is for the one that reads one by one
                    good &= ~pointed & (numbers[field] >= 0) & (numbers[field] <= 255)
        if good.all():
            return Table(rows, texts, numbers)
        texts = {field: (begin[good], end[good]) for field, (begin, end) in texts.items()}
        return Table(rows[good], texts, {field: values[good] for field, values in numbers.items()})

    def words(self, begin: I64, end: I64) -> NDArray[np.uint64]:
        """Texts as words, zeros behind them: shape (r, 4), of which a text over 32 bytes fills more."""
        width = end - begin
        words = np.zeros((width.size, TEXT_WORDS), np.uint64, order="F")
        for i in range(min(TEXT_WORDS, -(-int(width.max(initial=0)) // WORD))):
            words[:, i] = self._words[begin + WORD * i] & _kept(width - WORD * i)
        return words

    def text(self, begin: int, end: int) -> bytes:
        """Return the bytes of one text."""
        return self._buffer[begin:end].tobytes()

    def __len__(self) -> int:
        return self._ends.size

    def _literal_starts(self, layout: Layout, rows: I64, first: I64) -> list[I64]:
        """Where each literal starts, by its first quote; the last may have none, and ends the line."""
        starts, quote = [], 0
        for literal in layout.literals:
            if b'"' in literal:
                starts.append(self._quotes[first + quote] - literal.index(b'"'))
            else:
                starts.append(self._ends[rows] - len(literal))
            quote += literal.count(b'"')
        return starts

    def _matches(self, literal: bytes, start: I64) -> NDArray[np.bool_]:
        same = np.ones(start.size, bool)
        for at in range(0, len(literal), WORD):
            part = literal[at : at + WORD]
            wanted = np.uint64(int.from_bytes(part, "little"))
            found = self._words[start + at]
            same &= (found if len(part) == WORD else found & np.uint64((1 << 8 * len(part)) - 1)) == wanted
        return same

    def _number(self, begin: I64, end: I64) -> tuple[F64, NDArray[np.bool_], NDArray[np.bool_]]:
        """Read plain decimal numbers, correctly rounded: exact digits over an exact power of ten.

        A word holds the last eight characters, the first of them in its lowest byte. The point is cut out by moving
        what stands before it, and then pairs, fours and eights of digits are joined by multiplication.

        Returns:
            The numbers; which of them are plain: at most eight characters, all digits but for a minus before and a
            point among them; and which have a point.
        """
        negative = self._buffer[begin] == MINUS
        begin = begin + negative
        width = end - begin
        kept = ~_kept(WORD - width)
        text = (self._words[end - WORD] & kept) | (ZEROS & ~kept)
        point = _zero_bytes(text ^ POINTS) >> np.uint64(7)
        pointed = point != 0
        before = np.where(pointed, point - ONE, np.uint64(0))
        after = ~(before | (point * LAST_BYTE))
        moved = ((text & before) << EIGHT) | (text & after) | np.where(pointed, np.uint64(ZERO), np.uint64(0))
        digits = moved ^ ZEROS
        only_digits = ((digits + ABOVE_NINE) | digits) & HIGH_BITS == 0
        digits = (digits * PAIRS >> EIGHT) & np.uint64(0x00FF00FF00FF00FF)
        digits = (digits * FOURS >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
        digits = digits * EIGHTS >> np.uint64(32)
        places = np.where(pointed, np.bitwise_count(after) >> np.uint8(3), np.uint8(0))
        number = digits / POWERS[places]
        leading, second, last = self._buffer[begin], self._buffer[begin + 1], self._buffer[end - 1]
        plain = (
            (width >= 1)
            & (width <= WORD)
            & only_digits
            & (leading != DOT)
            & (last != DOT)
            & ((leading != ZERO) | (width == 1) | (second == DOT))
        )
        return np.where(negative, -number, number), plain, pointed


def _kept(width: I64) -> NDArray[np.uint64]:
    """Masks that keep the first ``width`` bytes of a word: all of them from 8, none up to 0."""
    return _MASKS[np.clip(width, 0, WORD)]


def _zero_bytes(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Set the highest bit of each byte that is zero; above the first one it may also set that of a byte that is 1.

    Here a byte of 1 is a slash: no digit, so that its number is not plain.
    """
    return (word - LOW_BITS) & ~word & HIGH_BITS


_MASKS: NDArray[np.uint64] = np.array([(1 << 8 * n) - 1 for n in range(WORD + 1)], np.uint64)


class Names:
    """Finds known texts of up to 32 bytes among words.

    Args:
        names: distinct texts.
    """

    def __init__(self, names: list[str]) -> None:
        texts = [name.encode() for name in names]
        self._short = np.array([i for i, text in enumerate(texts) if len(text) <= TEXT_WORDS * WORD], np.int64)
        packed = b"".join(texts[i].ljust(TEXT_WORDS * WORD, b"\0") for i in self._short)
        self._words = np.frombuffer(packed, np.uint64).reshape(-1, TEXT_WORDS)
        self._width = np.array([len(texts[i]) for i in self._short], np.int64)
        odd = np.uint64(0x9E3779B97F4A7C15)
        self._factors = odd * np.arange(1, 2 * TEXT_WORDS, 2, dtype=np.uint64)
        while np.unique(self._mix(self._words)).size < self._short.size:
            self._factors = self._factors * odd + np.uint64(2)
        self._mixed = np.sort(self._mix(self._words))
        self._order = np.argsort(self._mix(self._words))

    def find(self, words: NDArray[np.uint64], width: I64) -> NDArray[np.int32]:
        """Index of each text, shape (r,); -1 where it is none of them."""
        if not self._short.size:
            return np.full(width.size, -1, np.int32)
        at = self._order[np.minimum(np.searchsorted(self._mixed, self._mix(words)), self._order.size - 1)]
        same = functools.reduce(np.logical_and, (self._words[at] == words).T) & (self._width[at] == width)
        return np.where(same, self._short[at], -1).astype(np.int32)

    def _mix(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return functools.reduce(np.add, (words * self._factors).T)
