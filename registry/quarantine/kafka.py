"""What the router did not trust, and the source partitions that stand still because it was too much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
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


class NotReleased(Rejected):
    """Nothing can be released as it was asked."""


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


def noted(connection: Connection) -> list[Quarantined]:
    """The last events that were quarantined, at most NOTES_MAX: coordinates, reason and digest, never the payload."""
    with Admin(connection) as admin:
        first, end = admin.start_offsets(names.QUARANTINE)[0], admin.end_offsets(names.QUARANTINE, "read_committed")[0]
    start = max(first, end - NOTES_MAX)
    with LogReader(connection, names.QUARANTINE, 0, group=connection.account, start=start) as reader:
        return [Quarantined.decode(record.value or b"") for record in reader.read_to_end()]


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
