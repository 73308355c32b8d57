"""Cuts the bytes of an NDJSON file into batches of whole lines, as large as the source's."""

ROWS = 16_384


def batches(content: bytes, rows: int = ROWS) -> list[bytes]:
    r"""Runs of ``rows`` lines, each line ended by ``\n``.

    >>> batches(b"1\n2\n3\n", 2)
    [b'1\n2\n', b'3\n']
    """
    lines = (
        content.splitlines(keepends=True)
        if b"\r" not in content
        else content.replace(b"\r", b"?").splitlines(keepends=True)
    )
    return [b"".join(lines[i : i + rows]) for i in range(0, len(lines), rows)]
