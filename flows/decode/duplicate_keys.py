"""Messages in which a key stands twice: a JSON decoder would silently take the last."""

import json
import re

import numpy as np

from flows.arrays import I64
from flows.decode.batch import RawMessages
from flows.decode.refused import Refused

QUOTES_OF_TEXTS = 4
"""Of the id and the time, two each."""


def duplicate_keys(payloads: RawMessages, quotes: I64) -> dict[int, Refused]:
    """Find messages in which a key stands twice.

    Every key and every text takes two quotes. A message with just the quotes that its values account for has no key
    twice. Of any other (a null, an unknown field, a duplicate) the keys are counted, or it is read once more.

    Args:
        payloads: n messages.
        quotes: what the values of each account for, shape (n,).

    Returns:
        The refusal of each such message, by row.
    """
    texts = payloads.take(range(quotes.size))
    counted = np.fromiter((text.count(b'"') for text in texts), np.int64, quotes.size)
    refused = {}
    for row in np.flatnonzero(counted != quotes).tolist():
        text = texts[row]
        keys = _KEY.findall(text)
        if len(set(keys)) == len(keys) == (counted[row] - QUOTES_OF_TEXTS) // 2 and b"\\" not in text:
            continue  # every quote is of one of these keys or of the two texts
        try:
            _slow_decoder.decode(text.decode())
        except Refused as verdict:
            refused[row] = verdict
        except (ValueError, RecursionError) as err:
            refused[row] = Refused("undecodable", str(err) or type(err).__name__)
    return refused


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Refused("contract", f"Key stands twice - at `$.{key[:64]}`")
        seen.add(key)


_KEY = re.compile(rb'"(\w+)"\s*:')
_slow_decoder = json.JSONDecoder(object_pairs_hook=_refuse_duplicates)
