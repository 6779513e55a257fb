"""Record batches (Kafka's format 2) taken apart: records, and the markers that end transactions."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from typing import Final

from bianhe.consumers.checker.log import Entry, Marker
from bianhe.schemas.errors import Rejected

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and largest time, producer id,
producer epoch, first sequence, number of records."""
_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 7, 8, 16, 32
_GZIP: Final = 1


class UnreadableBatch(Rejected):
    """A record batch in a form that the checker does not read."""


def entries(piece: bytes) -> Iterator[Entry]:
    """All records of a piece of whole batches; raises UnreadableBatch."""
    at = 0
    while at < len(piece):
        length: int = struct.unpack_from(">i", piece, at + 8)[0]
        yield from _batch(piece, at, at + 12 + length)
        at += 12 + length


def _batch(piece: bytes, at: int, end: int) -> Iterator[Entry]:
    base, _, _, magic, _, attributes, _, first, largest, producer, epoch, _, count = _HEAD.unpack_from(piece, at)
    if magic != 2:
        raise UnreadableBatch(f"the batch at {base} has the old format {magic}")
    records = piece[at + _HEAD.size : end]
    if attributes & _CODEC == _GZIP:
        records = gzip.decompress(records)
    elif attributes & _CODEC:
        raise UnreadableBatch(
            f"the batch at {base} is compressed with codec {attributes & _CODEC}",
            cure="let clients send uncompressed or with gzip, or set compression.type on the topic",
        )
    place = 0
    for _ in range(count):
        length, place = _varint(records, place)
        offset, millis, key, value, headers = _record(records, place, base, first)
        place += length
        millis = largest if attributes & _LOG_APPEND_TIME else millis
        marker = _marker(key) if attributes & _CONTROL else None
        transactional = bool(attributes & _TRANSACTIONAL)
        yield Entry(offset, millis, key, value, headers, producer, epoch, transactional, marker)


def _record(
    data: bytes, at: int, base: int, first_millis: int
) -> tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    time_delta, at = _varint(data, at + 1)
    offset_delta, at = _varint(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    count, at = _varint(data, at)
    headers = []
    for _ in range(count):
        name, at = _bytes(data, at)
        content, at = _bytes(data, at)
        headers.append(((name or b"").decode("utf-8", "replace"), content or b""))
    return base + offset_delta, first_millis + time_delta, key, value, tuple(headers)


def _marker(key: bytes | None) -> Marker:
    _, kind = struct.unpack_from(">hh", key or b"\0\0\0\0")
    return Marker.COMMIT if kind == 1 else Marker.ABORT


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    return (None, at) if length < 0 else (data[at : at + length], at + length)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while (byte := data[at]) > 127:
        found |= (byte & 127) << shift
        shift += 7
        at += 1
    found |= byte << shift
    return found >> 1 ^ -(found & 1), at + 1
