"""What the router did not trust, and the source partitions that stand still because it was too much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import unreachable
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.journal import Quarantined
from bianhe.schemas.records.state import Position, Standstill, position_key, position_partition, standstill_key

NOTES_MAX: Final = 1_000
_WRITE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A source partition that is not routed on."""

    topic: str
    partition: int
    standstill: Standstill


def noted(connection: Connection) -> list[Quarantined]:
    """The last events that were quarantined, at most NOTES_MAX: coordinates, reason and digest, never the payload."""
    with Admin(connection) as admin:
        first, end = admin.start_offsets(names.QUARANTINE)[0], admin.end_offsets(names.QUARANTINE, "read_committed")[0]
    start = max(first, end - NOTES_MAX)
    with LogReader(connection, names.QUARANTINE, 0, group=connection.account, start=start) as reader:
        return [Quarantined.decode(record.value or b"") for record in reader.read_to_end()]


def standing(connection: Connection, policy: Policy) -> list[Standing]:
    """Every source partition that stands still now."""
    sources = [
        (names.source_topic(resource.code, resource.version), partition)
        for resource in policy.resources.values()
        for partition in range(resource.partitions)
    ]
    latest = _latest(connection, {position_partition(*source) for source in sources})
    found = []
    for topic, partition in sources:
        written, position = latest.get(standstill_key(topic, partition)), latest.get(position_key(topic, partition))
        standstill = Standstill.decode(written) if written else None
        # One that never moved has no position.
        if standstill is not None and standstill.holds(Position.decode(position).position if position else 0):
            found.append(Standing(topic, partition, standstill))
    return found


def release(connection: Connection, stopped: Iterable[Standing]) -> None:
    """Let partitions go on: what is bad of all that stands there now is quarantined, however much it is.

    The workers look once a second. Raises BrokerUnreachable where that cannot be written.
    """
    producer = clients.producer(connection, delivery_timeout=_WRITE_SECONDS)
    with Admin(connection) as admin:
        for each in stopped:
            end = admin.end_offsets(each.topic, "read_committed")[each.partition]
            released = replace(each.standstill, released_to=max(end, each.standstill.position + 1))
            key, place = standstill_key(each.topic, each.partition), position_partition(each.topic, each.partition)
            producer.produce(names.ROUTER_STATE, released.encode(), key, place)
    if producer.flush(_WRITE_SECONDS):
        raise unreachable(connection.bootstrap)


def _latest(connection: Connection, partitions: Iterable[int]) -> dict[str, bytes]:
    latest = {}
    for partition in sorted(partitions):
        with LogReader(connection, names.ROUTER_STATE, partition, group=connection.account) as reader:
            for record in reader.read_to_end():
                if record.key is not None and record.value is not None:
                    latest[record.key.decode()] = record.value
    return latest
