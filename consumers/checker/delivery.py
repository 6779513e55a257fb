"""One delivered record as it lies on a delivery topic, and the stream of them that is held against what was due."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from bianhe.consumers.checker.log import Entry, Outcome, Reading

UNREADABLE: Final = "unreadable"
LOOK_AHEAD: Final = 32
"""How far ahead a delivery is looked for that does not stand where it should."""
NULL_HEADERS: Final = ("bus_kind", "bus_offset", "bus_policy", "bus_seq")


class Delivered(NamedTuple):
    """A delivery taken apart; `body` is None for a null, then `kind` is its `bus_kind`.

    What is no delivery at all has the kind UNREADABLE and numbers below zero.
    """

    offset: int
    key: bytes | None
    schema_id: int
    source_offset: int
    seq: int
    version: int
    body: bytes | None
    kind: str
    extra: tuple[str, ...]
    """Names of headers that have no place there."""
    outcome: Outcome


def take_apart(entry: Entry, outcome: Outcome) -> Delivered:
    """The parts of a delivery."""
    parts = _null(entry, outcome) if entry.value is None else _value(entry, entry.value, outcome)
    return parts or Delivered(entry.offset, entry.key, -1, -1, -1, -1, None, UNREADABLE, (), outcome)


def _value(entry: Entry, value: bytes, outcome: Outcome) -> Delivered | None:
    if len(value) < 5 or value[0]:
        return None
    numbers, at = [], 5
    for _ in range(3):
        number = _number(value, at)
        if number is None:
            return None
        numbers.append(number[0])
        at = number[1]
    schema_id = int.from_bytes(value[1:5], "big")
    extra = tuple(name for name, _ in entry.headers)
    return Delivered(
        entry.offset, entry.key, schema_id, numbers[0], numbers[1], numbers[2], value[at:], "", extra, outcome
    )


def _null(entry: Entry, outcome: Outcome) -> Delivered | None:
    headers = dict(entry.headers)
    numbers = [headers.get(name, b"") for name in ("bus_offset", "bus_seq", "bus_policy")]
    if not all(re.fullmatch(rb"[0-9]{1,19}", number) for number in numbers):
        return None
    extra = tuple(sorted(name for name, _ in entry.headers))
    offset, seq, version = map(int, numbers)
    kind = headers.get("bus_kind", b"").decode("ascii", "replace")
    return Delivered(
        entry.offset, entry.key, -1, offset, seq, version, None, kind, extra if extra != NULL_HEADERS else (), outcome
    )


def _number(value: bytes, at: int) -> tuple[int, int] | None:
    """The Avro long at a place, and the place after it; None where there is none in its shortest form."""
    found = shift = 0
    for end in range(at, min(at + 10, len(value))):
        found |= (value[end] & 127) << shift
        if value[end] < 128:
            shortest = end == at or value[end] != 0
            return (found >> 1 ^ -(found & 1), end + 1) if shortest else None
        shift += 7
    return None


class Stream:
    """The deliveries of one topic and partition in order; the aborted ones are set aside."""

    def __init__(self, reading: Reading, edge: int | None) -> None:
        self.reading = reading
        self.edge = edge
        self.beyond_edge: list[int] = []
        self.aborted: dict[int, list[Delivered]] = {}
        """By source offset: few, as aborts are."""
        self._entries = reading.decided()
        self._ahead: deque[Delivered] = deque()

    def head(self) -> Delivered | None:
        """The next committed delivery, None at the end."""
        self._fill(1)
        return self._ahead[0] if self._ahead else None

    def pop(self) -> Delivered:
        return self._ahead.popleft()

    def find(self, source_offset: int) -> Delivered | None:
        """Take the delivery of a source offset out of what comes next, None if it is not among it."""
        self._fill(LOOK_AHEAD)
        for found in self._ahead:
            if found.source_offset == source_offset:
                self._ahead.remove(found)
                return found
        return None

    def rest(self) -> Iterator[Delivered]:
        while self.head() is not None:
            yield self.pop()

    def _fill(self, count: int) -> None:
        while len(self._ahead) < count:
            entry, outcome = next(self._entries, (None, Outcome.OPEN))
            if entry is None:
                return
            if self.edge is not None and entry.offset >= self.edge:
                self.beyond_edge.append(entry.offset)
            delivered = take_apart(entry, outcome)
            if outcome is Outcome.COMMITTED:
                self._ahead.append(delivered)
            else:
                self.aborted.setdefault(delivered.source_offset, []).append(delivered)
