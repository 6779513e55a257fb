"""What one source record becomes: deliveries, retractions, removals, or a reason to set it aside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Delivery, Route
from bianhe.schemas import wire
from bianhe.schemas.errors import Rejected
from bianhe.schemas.identifiers import looks_like_citizen_id

SOURCE_BYTES_MAX: Final = 1_000_000
_KEY: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")
Headers = list[tuple[str, bytes]]


class Quarantine(Rejected):
    """The record cannot be trusted; `message` is the reason that its provider is told."""


class UnknownSchema(Rejected):
    """A schema id that this policy version does not know; a newer one may."""


class Outgoing(NamedTuple):
    """A record for a delivery topic; `value` is null for a retraction or removal, and then only it has headers."""

    topic: str
    value: bytes | None
    headers: Headers | None


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record as the provider wrote it. `append_millis` is the broker's time, never the provider's."""

    offset: int
    key: bytes | None
    value: bytes | None
    append_millis: int


def route_record(
    record: SourceRecord, route: Route, state: PartitionState, policy_version: int, today: date
) -> Sequence[Outgoing]:
    """Decide the deliveries of one record, and note them in the partition's open transaction.

    Nothing is noted where it raises: Quarantine for a record that cannot be trusted, UnknownSchema for an id that
    this policy version does not know.
    """
    key = _checked_key(record.key, today)
    if record.value is None:
        return _remove(record, key, route, state, policy_version)
    bodies = _slices(record.value, route)
    outgoing = []
    offset, policy = wire.long(record.offset), wire.long(policy_version)
    for delivery in route.deliveries:
        topic = delivery.topic
        if state.is_cut(delivery, record.append_millis):
            state.keep_back(topic)
            continue
        sliced = bodies[delivery.slot]
        if sliced is not None:
            if delivery.filtered:
                state.enter(topic, key)
            seq = wire.long(state.next_seq(topic))
            outgoing.append(Outgoing(topic, b"".join((delivery.frame, offset, seq, policy, sliced)), None))
            continue
        state.keep_back(topic)
        if delivery.filtered and state.leave(topic, key):
            outgoing.append(_null(topic, b"retracted", record, state, policy_version))
    return outgoing


def is_sound(record: SourceRecord, route: Route, today: date) -> bool:
    """Whether the record can be trusted; one that cannot is quarantined, so no view ever had it."""
    try:
        _checked_key(record.key, today)
        if record.value is not None:
            _slices(record.value, route)
    except (Quarantine, UnknownSchema, wire.Malformed):
        return False
    return True


def holds(record: SourceRecord, route: Route, today: date) -> Sequence[tuple[Delivery, bool]]:
    """For each filtered view whether it holds the entity after this record; nothing where the record is quarantined."""
    try:
        _checked_key(record.key, today)
        if record.value is None:
            return [(delivery, False) for delivery in route.filtered]
        bodies = _slices(record.value, route)
    except (Quarantine, UnknownSchema, wire.Malformed):
        return []
    return [(delivery, bodies[delivery.slot] is not None) for delivery in route.filtered]


def _slices(value: bytes, route: Route) -> list[bytes | None]:
    if len(value) > SOURCE_BYTES_MAX:
        raise Quarantine(f"too large: {len(value)} bytes, at most {SOURCE_BYTES_MAX}")
    schema_id, body = wire.unframe(value)
    slicer = route.slicers.get(schema_id)
    if slicer is None:
        raise UnknownSchema(f"schema id {schema_id} is no contract of {route.source}")
    return slicer.slice(body)


def _checked_key(key: bytes | None, today: date) -> bytes:
    if key is None or not _KEY.fullmatch(key):
        raise Quarantine("the key is missing or not of the form [A-Za-z0-9_-]{1,64}")
    if len(key) == 18 and looks_like_citizen_id(key.decode("ascii"), today):
        raise Quarantine("the key is a valid identity number")
    return key


def _remove(
    record: SourceRecord, key: bytes, route: Route, state: PartitionState, policy_version: int
) -> Sequence[Outgoing]:
    outgoing = []
    for delivery in route.deliveries:
        topic = delivery.topic
        if state.is_cut(delivery, record.append_millis) or (delivery.filtered and not state.leave(topic, key)):
            state.keep_back(topic)
            continue
        outgoing.append(_null(topic, b"removed", record, state, policy_version))
    return outgoing


def _null(topic: str, kind: bytes, record: SourceRecord, state: PartitionState, policy_version: int) -> Outgoing:
    headers = [
        ("bus_kind", kind),
        ("bus_offset", str(record.offset).encode()),
        ("bus_seq", str(state.next_seq(topic)).encode()),
        ("bus_policy", str(policy_version).encode()),
    ]
    return Outgoing(topic, None, headers)
