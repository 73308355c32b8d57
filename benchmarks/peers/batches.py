"""Cuts the bytes of an NDJSON file into batches of whole lines, as large as the source's."""

ROWS = 16_384


def batches(content: bytes, rows: int = ROWS) -> list[bytes]:
    r"""Runs of ``rows`` lines, each line ended by ``\n``.

    >>> batches(b"1\n2\n3\n", 2)
    [b'1\n2\n', b'3\n']
    """
    lines = content.split(b"\n")[:-1]
    return [b"\n".join(lines[i : i + rows]) + b"\n" for i in range(0, len(lines), rows)]
