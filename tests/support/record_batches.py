"""Record batches as Kafka's wire has them, made by hand: what no well-behaved client would send.

A batch is given to the leader of its partition as it is, over one connection without TLS.
"""

import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

PRODUCE, VERSION = 0, 7
ALL_COPIES, TIMEOUT_MS = -1, 30_000
ZSTD = 4
NO_LEADER = (3, 5, 6)
"""Error codes of a topic or partition that a broker does not know yet."""
CASTAGNOLI = 0x82F63B78


class Record(NamedTuple):
    """A record to be sent; header names are bytes, of whatever encoding."""

    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def batch(records: list[Record], *, packed: bool = False) -> bytes:
    """Records as a batch; ``packed`` by zstd."""
    body = b"".join(_record(i, record) for i, record in enumerate(records))
    if packed:
        body = pa.compress(body, "zstd", asbytes=True)
    now, last = int(time.time() * 1000), len(records) - 1
    checked = struct.pack(">hiqqqhii", ZSTD if packed else 0, last, now, now, -1, -1, -1, len(records)) + body
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked


def send(servers: str, topic: str, records: bytes, partition: int = 0) -> int:
    """Produce a batch; return the broker's error code, 0 where it took it. A partition just made may have no leader."""
    until = time.monotonic() + TIMEOUT_MS / 1000
    while (code := _send(servers, topic, records, partition)) in NO_LEADER and time.monotonic() < until:
        time.sleep(0.05)
    return code


def _send(servers: str, topic: str, records: bytes, partition: int) -> int:
    host, _, port = servers.partition(":")
    name = topic.encode()
    body = struct.pack(">hhi", -1, ALL_COPIES, TIMEOUT_MS) + struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">iii", 1, partition, len(records)) + records
    request = struct.pack(">hhih", PRODUCE, VERSION, 1, 4) + b"test" + body
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_MS / 1000) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        stream = connection.makefile("rb")
        answer = stream.read(struct.unpack(">i", stream.read(4))[0])
    at = 4 + 4 + 2 + len(name) + 4 + 4  # correlation, topics, name, partitions, partition
    return int(struct.unpack_from(">h", answer, at)[0])


def flip(data: Path, topic: str, old: bytes, new: bytes, partition: int = 0, *, count: int = 1) -> None:
    """Change bytes in a broker's log, as a failing disk would; ``count`` says how often they are there."""
    assert len(old) == len(new)
    [log] = (data / f"{topic}-{partition}").glob("*.log")
    content = log.read_bytes()
    assert content.count(old) == count
    with log.open("r+b") as file:
        file.seek(content.index(old))
        file.write(new)


def _record(delta: int, record: Record) -> bytes:
    body = b"\0" + _varint(0) + _varint(delta) + _bytes(record.key) + _bytes(record.value)
    body += _varint(len(record.headers))
    for name, value in record.headers:
        body += _bytes(name) + _bytes(value)
    return _varint(len(body)) + body


def _bytes(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    rest, encoded = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


def crc32c(content: bytes) -> int:
    """Checksum of a batch.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
