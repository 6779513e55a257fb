"""Lanes: the delivery topics that a source partition is cut into, with what is counted for each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bianhe.schemas import wire

NO_TERM: Final = 2**63 - 1
Deliver = Callable[[bytes, int, int, int], "list[bytes | None]"]
"""Takes a framed source record, its offset, the policy version and its append time in milliseconds.

Returns for each lane the framed delivery record, or None where its row rule or its term keeps the record back, and
counts it. Raises Malformed, and then nothing is counted.
"""


@dataclass(frozen=True, slots=True)
class Lane:
    """Where one view of a slicer goes."""

    slot: int
    """Which of the slicer's views it gets."""
    frame: bytes
    """Magic byte and schema id of what is delivered."""
    until: int
    """First millisecond after the term, NO_TERM without one."""
    seq: int
    """Last `bus_seq` written."""
    cut: bool
    """Whether the term has ended; once cut a view stays cut."""


class Lanes:
    """The lanes of one source partition, as columns: what delivers counts in place."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.slots = array("q", (lane.slot for lane in lanes))
        self.frames = b"".join(lane.frame for lane in lanes)
        self.until = array("q", (lane.until for lane in lanes))
        self.seq = array("q", (lane.seq for lane in lanes))
        self.kept_back = array("q", bytes(8 * len(lanes)))
        self.cut = bytearray(lane.cut for lane in lanes)

    def is_cut(self, lane: int, append_millis: int) -> bool:
        """Whether the term of a lane is over at this append time."""
        if append_millis >= self.until[lane]:
            self.cut[lane] = True
        return bool(self.cut[lane])

    def next_seq(self, lane: int) -> int:
        """The `bus_seq` of one more record."""
        self.seq[lane] += 1
        return self.seq[lane]


def delivering(slice: Callable[[bytes], list[bytes | None]], lanes: Lanes) -> Deliver:
    """Return the function that delivers a record's slices into lanes; the kernel has its own."""
    frames = [lanes.frames[at : at + wire.HEAD_BYTES] for at in range(0, len(lanes.frames), wire.HEAD_BYTES)]

    def deliver(value: bytes, offset: int, policy_version: int, append_millis: int) -> list[bytes | None]:
        bodies = slice(value[wire.HEAD_BYTES :])
        position, policy = wire.long(offset), wire.long(policy_version)
        delivered: list[bytes | None] = []
        for lane, slot in enumerate(lanes.slots):
            body = bodies[slot]
            if lanes.is_cut(lane, append_millis) or body is None:
                lanes.kept_back[lane] += 1
                delivered.append(None)
            else:
                seq = wire.long(lanes.next_seq(lane))
                delivered.append(b"".join((frames[lane], position, seq, policy, body)))
        return delivered

    return deliver
