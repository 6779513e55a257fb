"""Confluent wire format V0: a zero byte, four bytes of schema id, an Avro body; and what keeps bytes out of the bus."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from bianhe.schemas.errors import Rejected

MAGIC: Final = 0
HEAD_BYTES: Final = 5
INT_MIN: Final = -(1 << 31)
INT_MAX: Final = (1 << 31) - 1
LONG_MIN: Final = -(1 << 63)
LONG_MAX: Final = (1 << 63) - 1


class Reason(StrEnum):
    """Why bytes are not a record of their schema."""

    MAGIC = "does not begin with the wire format's zero byte and schema id"
    TRUNCATED = "ends before its last field"
    TRAILING = "goes on after its last field"
    OVERLONG = "a number is not in its shortest form"
    RANGE = "a number is outside the range of its type"
    LENGTH = "a length is negative or larger than the record"
    UNION = "a union index is neither 0 nor 1"
    ENUM = "an enum index names no symbol"
    BOOLEAN = "a boolean is neither 0 nor 1"
    TEXT = "a string is not UTF-8"
    UUID = "a UUID is not in its textual form"
    BLOCK = "an array or map is not written as one block without a size"
    COUNT = "an array or map announces more items than the record has bytes"
    KEY = "a map has a key twice"


class Malformed(Rejected):
    """Bytes that are not a record of their schema; `at` is the byte where that showed. Carries nothing of the bytes."""

    def __init__(self, reason: Reason, at: int) -> None:
        super().__init__(f"the record {reason}" if reason in _OF_RECORD else f"{reason}, at byte {at}")
        self.reason = reason
        self.at = at


_OF_RECORD = frozenset({Reason.MAGIC, Reason.TRUNCATED, Reason.TRAILING})


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the wire format's head before an Avro body; `schema_id` is an unsigned 32-bit number."""
    return b"\0" + schema_id.to_bytes(4, "big") + body


def unframe(value: bytes) -> tuple[int, bytes]:
    """Return schema id and Avro body of a record's value; raises Malformed if it is too short or has another magic."""
    if len(value) < HEAD_BYTES or value[0] != MAGIC:
        raise Malformed(Reason.MAGIC, 0)
    return int.from_bytes(value[1:HEAD_BYTES], "big"), value[HEAD_BYTES:]


def long(number: int) -> bytes:
    """A number as Avro writes an int or long: zigzag, seven bits a byte, lowest first. Raises OverflowError."""
    if not LONG_MIN <= number <= LONG_MAX:
        raise OverflowError(f"{number} is no 64-bit number")
    rest = number << 1 if number >= 0 else ~(number << 1)
    digits = bytearray()
    while rest > 127:
        digits.append(rest & 127 | 128)
        rest >>= 7
    digits.append(rest)
    return bytes(digits)


def text(content: bytes) -> bytes:
    """A string or bytes value as Avro writes it: its length, then its content."""
    return long(len(content)) + content
