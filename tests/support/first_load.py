"""What a first load must deliver, by a few lines of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from support.records import person

RULE = "residence_division prefix 410212"
BAD = b"\0\0\0\0\x64 no record"


class Record(Protocol):
    """A source record, however it was read."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def the_view(log: Sequence[Record], boundary: int, rule: str) -> list[tuple[bytes, str]]:
    """Key and kind of each delivery of a view that began at `boundary`; its only values are persons by division."""
    within = person(residence_division="410212")
    last: dict[bytes, Record] = {}
    for record in log:
        if record.offset < boundary and record.value != BAD:
            last[record.key or b""] = record
    held: set[bytes] = set()
    found: list[tuple[bytes, str]] = []
    for record in log:
        key = record.key or b""
        if record.value == BAD or (record.offset < boundary and (last[key] != record or record.value is None)):
            continue
        inside = record.value is not None and (not rule or record.value == within)
        if inside:
            held.add(key)
            found.append((key, "SNAPSHOT" if record.offset < boundary else "CHANGED"))
        elif key in held or (not rule and record.value is None):
            held.discard(key)
            found.append((key, "null"))
    return found
