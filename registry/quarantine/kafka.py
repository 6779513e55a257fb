"""What the router did not trust, and the source partitions that stand still because it was too much."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from operator import itemgetter
from threading import Lock
from typing import Final

from sqlalchemy import Engine

from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.registry.policy.sql import append
from bianhe.registry.sql import deciding
from bianhe.schemas import names
from bianhe.schemas.errors import Rejected
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.journal import Quarantined
from bianhe.schemas.records.policy import Released
from bianhe.schemas.records.state import Position, Standstill, position_key, position_partition, standstill_key

NOTES_MAX: Final = 1_000
Wanted = Callable[[str], bool]
"""Whether the notes of a source topic are asked for."""


class NotReleased(Rejected):
    """Nothing can be released as it was asked."""


class NoResource(Rejected):
    """A resource that the policy log does not have."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A source partition that is not routed on."""

    resource: str
    version: int
    partition: int
    standstill: Standstill

    @property
    def topic(self) -> str:
        return names.source_topic(self.resource, self.version)


class LastNotes:
    """The last notes of each source topic, in the order in which they came."""

    def __init__(self) -> None:
        self._notes: defaultdict[str, deque[tuple[int, Quarantined]]] = defaultdict(lambda: deque(maxlen=NOTES_MAX))

    def add(self, offset: int, note: Quarantined) -> None:
        self._notes[note.topic].append((offset, note))

    def of(self, wanted: Wanted) -> list[Quarantined]:
        """The last NOTES_MAX of the topics that are wanted."""
        found = merge(*(notes for topic, notes in self._notes.items() if wanted(topic)), key=itemgetter(0))
        return [note for _, note in deque(found, maxlen=NOTES_MAX)]


class Notes:
    """Follows `bus.quarantine`, read on at each question; for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._position = 0
        self._last = LastNotes()
        self._turn = Lock()

    def of(self, wanted: Wanted) -> list[Quarantined]:
        """The last events quarantined of the topics that are wanted, at most NOTES_MAX: coordinates, reason and digest,
        never the payload."""
        with self._turn:
            self._read_on()
            return self._last.of(wanted)

    def _read_on(self) -> None:
        with Admin(self._connection) as admin:
            # What was deleted since is not waited for.
            start = max(self._position, admin.start_offsets(names.QUARANTINE)[0])
        group = self._connection.account
        with LogReader(self._connection, names.QUARANTINE, 0, group=group, start=start) as reader:
            for record in reader.stream_to_end():
                self._last.add(record.offset, Quarantined.decode(record.value or b""))
                self._position = record.offset + 1
            self._position = reader.position


def noted(connection: Connection, wanted: Wanted = lambda topic: True) -> list[Quarantined]:
    """The last events quarantined of the topics that are wanted, asked once."""
    return Notes(connection).of(wanted)


def check_resource(policy: Policy, code: str) -> None:
    """Raise NoResource where the policy log has no resource of this code."""
    known = sorted({each.code for each in policy.resources.values()})
    if code not in known:
        raise NoResource(f"there is no resource {code} on the policy log", cure=f"there are {', '.join(known)}")


def standing(connection: Connection, policy: Policy) -> list[Standing]:
    """Every source partition that stands still now."""
    sources = {
        (names.source_topic(*key), partition): key
        for key, resource in policy.resources.items()
        for partition in range(resource.partitions)
    }
    latest = _latest(connection, {position_partition(*source) for source in sources})
    found = []
    for (topic, partition), key in sources.items():
        written, position = latest.get(standstill_key(topic, partition)), latest.get(position_key(topic, partition))
        standstill = Standstill.decode(written) if written else None
        # One that never moved has no position.
        at, released = Position.decode(position).position if position else 0, policy.released.get((topic, partition), 0)
        if standstill is not None and standstill.holds(at, released):
            found.append(Standing(*key, partition, standstill))
    return found


def release(
    admin: Connection, engine: Engine, stopped: Sequence[Standing], reason: str, by: str, at: datetime
) -> list[str]:
    """Put into the outbox that partitions go on; the ids of its rows. Raises NotReleased."""
    bodies = releases(admin, stopped, reason, by)
    with deciding(engine) as connection:
        return append(connection, bodies, at)


def releases(admin: Connection, stopped: Iterable[Standing], reason: str, by: str) -> list[Released]:
    """What lets partitions go on: what is bad of all that stands there now is quarantined. Raises NotReleased."""
    if not reason.strip() or not by.strip():
        raise NotReleased("a release needs a reason and a name", cure="say --reason and --by: its provider will ask")
    before = defaultdict[tuple[str, int], dict[str, int]](dict)
    with Admin(admin) as asking:
        for each in stopped:
            end = asking.end_offsets(each.topic, "read_committed")[each.partition]
            before[each.resource, each.version][str(each.partition)] = max(end, each.standstill.position + 1)
    return [
        Released(resource=code, version=version, before=ends, reason=reason.strip(), decided_by=by.strip())
        for (code, version), ends in before.items()
    ]


def _latest(connection: Connection, partitions: Iterable[int]) -> dict[str, bytes]:
    latest = {}
    for partition in sorted(partitions):
        with LogReader(connection, names.ROUTER_STATE, partition, group=connection.account) as reader:
            for record in reader.read_to_end():
                if record.key is not None and record.value is not None:
                    latest[record.key.decode()] = record.value
    return latest
