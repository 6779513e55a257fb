"""A partition as it lies on the broker's disk: every record, what ended its transaction, and what is not there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

Place = tuple[str, int]
"""A topic and the number of a partition."""


class Marker(StrEnum):
    """A control record: how a transaction of its producer ended."""

    COMMIT = "commit"
    ABORT = "abort"


class Entry(NamedTuple):
    """One record of the raw log, control records included (then `marker` says which)."""

    offset: int
    millis: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    producer: int = -1
    epoch: int = -1
    transactional: bool = False
    marker: Marker | None = None


class Outcome(StrEnum):
    """What became of a record's transaction; a record outside any is committed."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Extent:
    """From where to where a partition reaches: its first offset and the one after its last."""

    start: int
    end: int


class Rule(NamedTuple):
    """An access rule as a broker has it, by Kafka's names; `account` without `User:`."""

    account: str
    operation: str
    kind: str
    name: str
    pattern: str = "LITERAL"
    effect: str = "ALLOW"
    host: str = "*"


class Bus(Protocol):
    """What is judged: a cluster, or a dump of one."""

    @property
    def extents(self) -> Mapping[Place, Extent]: ...
    @property
    def rules(self) -> Mapping[int, frozenset[Rule]]:
        """The access rules as each broker, by its node id, has them."""
        ...

    @property
    def settled(self) -> bool:
        """Whether nothing was routed while it was read."""
        ...

    def entries(self, place: Place) -> Iterator[Entry]:
        """The raw log of a partition from its start to its end, read piece by piece."""
        ...


class Reading:
    """One pass over a partition.

    `compacted` tells, as far as it was read, whether records are not there any more; `open_from`, once all was read,
    where the first record stands whose transaction has no end.
    """

    def __init__(self, bus: Bus, place: Place) -> None:
        self.place = place
        self.extent = bus.extents.get(place, Extent(0, 0))
        self.compacted = False
        self.open_from: int | None = None
        self._entries = bus.entries(place) if place in bus.extents else iter(())

    @property
    def incomplete(self) -> bool:
        return self.compacted or self.extent.start > 0

    def decided(self) -> Iterator[tuple[Entry, Outcome]]:
        """Every record in order, each with what became of its transaction; control records are left out.

        Holds back what stands behind the first record of a transaction until its end is read.
        """
        waiting: deque[tuple[Entry, list[Outcome]]] = deque()
        open_of: dict[int, list[Outcome]] = {}
        for entry in self._contiguous():
            if entry.marker is not None:
                if (outcome := open_of.pop(entry.producer, None)) is not None:
                    outcome[0] = Outcome.COMMITTED if entry.marker is Marker.COMMIT else Outcome.ABORTED
            elif entry.transactional:
                waiting.append((entry, open_of.setdefault(entry.producer, [Outcome.OPEN])))
            else:
                waiting.append((entry, [Outcome.COMMITTED]))
            while waiting and waiting[0][1][0] is not Outcome.OPEN:
                known, (became,) = waiting.popleft()
                yield known, became
        if waiting:
            self.open_from = waiting[0][0].offset
        yield from ((entry, outcome[0]) for entry, outcome in waiting)

    def committed(self) -> Iterator[Entry]:
        """What a `read_committed` reader sees."""
        return (entry for entry, outcome in self.decided() if outcome is Outcome.COMMITTED)

    def _contiguous(self) -> Iterator[Entry]:
        # Kafka gives every record and every marker an offset: one that is not there was compacted away.
        expected = self.extent.start
        for entry in self._entries:
            self.compacted |= entry.offset != expected
            expected = entry.offset + 1
            yield entry
        self.compacted |= expected != self.extent.end


def committed_of(bus: Bus, topic: str) -> Iterable[tuple[Reading, Iterator[Entry]]]:
    """The committed records of every partition of a topic, with the pass that reads them."""
    for place in sorted(place for place in bus.extents if place[0] == topic):
        reading = Reading(bus, place)
        yield reading, reading.committed()
