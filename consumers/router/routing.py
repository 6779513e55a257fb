"""What one source record becomes: deliveries, retractions, removals, or a reason to set it aside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
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


class Null(NamedTuple):
    """A retraction or a removal; only nulls have headers."""

    topic: str
    headers: Headers


class Routed(NamedTuple):
    """What one record becomes: for each lane a value, or None where it is kept back; and nulls."""

    values: list[bytes | None]
    nulls: Sequence[Null] = ()


class SourceRecord(NamedTuple):
    """A record as the provider wrote it. `append_millis` is the broker's time, never the provider's."""

    offset: int
    key: bytes | None
    value: bytes | None
    append_millis: int

    @property
    def append_day(self) -> date:
        """What a date of birth in its key is judged by, whenever the record is read."""
        return datetime.fromtimestamp(self.append_millis / 1000, UTC).date()


def route_record(record: SourceRecord, state: PartitionState, policy_version: int) -> Routed:
    """Decide the deliveries of one record, and count them in the partition's open transaction.

    Nothing is counted where it raises: Quarantine for a record that cannot be trusted, UnknownSchema for an id that
    this policy version does not know.
    """
    offset, _, value, append_millis = record
    key = _checked_key(record)
    if value is None:
        return _remove(record, key, state, policy_version)
    if len(value) > SOURCE_BYTES_MAX:
        raise Quarantine(f"too large: {len(value)} bytes, at most {SOURCE_BYTES_MAX}")
    deliver = state.delivering.get(value[: wire.HEAD_BYTES])
    if deliver is None:
        raise _unknown(value, state.topic)
    values = deliver(value, offset, policy_version, append_millis)
    return Routed(values, retractions(key, offset, values, state, policy_version) if state.filtered else ())


def retractions(
    key: bytes, offset: int, values: Sequence[bytes | None], state: PartitionState, policy_version: int
) -> list[Null]:
    """What a delivered record means for the filtered views: entities enter, and those that leave are retracted."""
    nulls = []
    for lane, delivery in state.filtered:
        if values[lane] is not None:
            state.enter(delivery.topic, key)
        elif not state.lanes.cut[lane] and state.leave(delivery.topic, key):
            nulls.append(_null(lane, b"retracted", offset, state, policy_version))
    return nulls


def is_sound(record: SourceRecord, route: Route) -> bool:
    """Whether the record can be trusted; one that cannot is quarantined, so no view ever had it."""
    try:
        _checked_key(record)
        if record.value is not None:
            _slices(record.value, route)
    except (Quarantine, UnknownSchema, wire.Malformed):
        return False
    return True


def holds(record: SourceRecord, route: Route) -> Sequence[tuple[Delivery, bool]]:
    """For each filtered view whether it holds the entity after this record; nothing where the record is quarantined."""
    try:
        _checked_key(record)
        if record.value is None:
            return [(delivery, False) for delivery in route.filtered]
        bodies = _slices(record.value, route)
    except (Quarantine, UnknownSchema, wire.Malformed):
        return []
    return [(delivery, bodies[delivery.slot] is not None) for delivery in route.filtered]


def _slices(value: bytes, route: Route) -> list[bytes | None]:
    if len(value) > SOURCE_BYTES_MAX:
        raise Quarantine(f"too large: {len(value)} bytes, at most {SOURCE_BYTES_MAX}")
    slicer = route.slicers.get(value[: wire.HEAD_BYTES])
    if slicer is None:
        raise _unknown(value, route.source)
    return slicer.slice(value[wire.HEAD_BYTES :])


def _unknown(value: bytes, source: str) -> UnknownSchema:
    """Raises Malformed where there is no schema id at all."""
    schema_id, _ = wire.unframe(value)
    return UnknownSchema(f"schema id {schema_id} is no contract of {source}")


def _checked_key(record: SourceRecord) -> bytes:
    key = record.key
    if key is None or not _KEY.fullmatch(key):
        raise Quarantine("the key is missing or not of the form [A-Za-z0-9_-]{1,64}")
    if len(key) == 18 and looks_like_citizen_id(key.decode("ascii"), record.append_day):
        raise Quarantine("the key is a valid identity number")
    return key


def _remove(record: SourceRecord, key: bytes, state: PartitionState, policy_version: int) -> Routed:
    nulls = []
    filtered = dict(state.filtered)
    for lane, topic in enumerate(state.topics):
        if state.lanes.is_cut(lane, record.append_millis) or (lane in filtered and not state.leave(topic, key)):
            state.lanes.kept_back[lane] += 1
            continue
        nulls.append(_null(lane, b"removed", record.offset, state, policy_version))
    return Routed([], nulls)


def _null(lane: int, kind: bytes, offset: int, state: PartitionState, policy_version: int) -> Null:
    headers = [
        ("bus_kind", kind),
        ("bus_offset", str(offset).encode()),
        ("bus_seq", str(state.lanes.next_seq(lane)).encode()),
        ("bus_policy", str(policy_version).encode()),
    ]
    return Null(state.topics[lane], headers)
