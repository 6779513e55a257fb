"""The open transaction of a worker: what it has written so far, and whether it is full."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.routing import SourceRecord
from bianhe.schemas import names
from bianhe.schemas.records.journal import Quarantined
from bianhe.schemas.records.state import (
    Acknowledgement,
    Standstill,
    position_key,
    position_partition,
    standstill_key,
    view_key,
    worker_key,
    worker_partition,
)


class BusRecord(NamedTuple):
    """A record for one of the `bus.*` topics; partition -1 leaves the choice to the key."""

    topic: str
    partition: int
    key: str
    value: bytes


@dataclass
class Budget:
    """How much an open transaction has taken, against its limits."""

    limits: Limits
    begun_seconds: float
    former_ended_seconds: float = 0.0
    events: int = 0
    bytes: int = 0

    def took(self, size: int, events: int = 1) -> None:
        """One more event, or several, with their bytes: what they came as or what was delivered, whichever is more."""
        self.events += events
        self.bytes += size

    @property
    def full(self) -> bool:
        """Whether it has taken all that it may."""
        return self.events >= self.limits.events_max or self.bytes >= self.limits.bytes_max

    def spent(self, now_seconds: float, *, behind: bool = False) -> bool:
        """Whether the transaction must end, full or too old; it may grow older while the worker is `behind`."""
        seconds = self.limits.transaction_seconds_behind if behind else self.limits.transaction_seconds_max
        return self.full or now_seconds - self.begun_seconds >= seconds

    def patience(self, now_seconds: float) -> float:
        """How long to wait for more input before committing; 0 or less where enough was waited."""
        gathered = self.begun_seconds + self.limits.gathering_seconds
        return max(gathered, self.former_ended_seconds + self.limits.rest_seconds) - now_seconds


def quarantined(record: SourceRecord, topic: str, partition: int, reason: str) -> BusRecord:
    """The note of a record set aside: never its payload."""
    value = record.value or b""
    digest = hashlib.sha256(value).hexdigest()
    note = Quarantined(topic, partition, record.offset, reason, digest, len(value))
    return BusRecord(names.QUARANTINE, -1, position_key(topic, partition), note.encode())


def closing_records(
    states: Iterable[PartitionState], policy_version: int, transactional_id: str, acknowledged: int
) -> Iterator[BusRecord]:
    """What a transaction writes last: journal, state and, where it is new, the acknowledgement of the policy."""
    for state in states:
        if not state.changed:
            continue
        topic, partition = state.topic, state.partition
        slot, key = position_partition(topic, partition), position_key(topic, partition)
        if state.position != state.committed:
            yield BusRecord(names.JOURNAL, -1, key, state.journal(policy_version).encode())
            yield BusRecord(names.ROUTER_STATE, slot, key, state.state(policy_version).encode())
        if state.stands_still:
            standstill = Standstill(state.position, state.cap.count)
            yield BusRecord(names.ROUTER_STATE, slot, standstill_key(topic, partition), standstill.encode())
        for view, position in state.touched().items():
            yield BusRecord(names.ROUTER_STATE, slot, view_key(topic, partition, view), position.encode())
    if acknowledged < policy_version:
        yield BusRecord(
            names.ROUTER_STATE,
            worker_partition(transactional_id),
            worker_key(transactional_id),
            Acknowledgement(policy_version).encode(),
        )
