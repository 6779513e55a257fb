"""The first load of a view: what stood when it began, then all since, until it goes with the live flow (design 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route, RoutingPlan
from bianhe.consumers.router.routing import (
    Quarantine,
    Routed,
    SourceRecord,
    UnknownSchema,
    is_sound,
    route_record,
)
from bianhe.consumers.router.transaction import BusRecord
from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_KINDS
from bianhe.schemas.records.state import Manifest, ViewPosition, manifest_key, position_partition, view_key
from bianhe.schemas.walk import number

_SNAPSHOT: Final = wire.long(EVENT_KINDS.index("SNAPSHOT"))
_BUS_FIELDS: Final = 3
NOTHING: Final = Routed([])
Source = tuple[str, int]
"""A source topic and one of its partitions."""


class Loading:
    """One view of one source partition that is behind the live flow, with a position and counters of its own.

    It is fed the source twice, from offset 0 and in order: first up to the boundary, where the view began, to learn
    which record of each entity was the last one then; then on from where it stands. Of what lies before the boundary
    only those records are delivered, as SNAPSHOT and without removals, and a manifest says how many; from there on the
    view follows the log as it is.

    With a row rule, what it holds is read in between from its own mailbox: of a view that stood still for long the
    source may not know any more what was delivered.
    """

    def __init__(self, route: Route, topic: str, partition: int, view: ViewPosition) -> None:
        self.boundary = view.begin
        self.next = 0
        """Offset to be read next, in the source or in the mailbox."""
        # One that stands behind the boundary has delivered what stood there.
        self._last: dict[bytes, int] | None = {} if view.position < view.begin else None
        self._standing = bytearray()
        """A bit for each offset before the boundary: whether it stood when the view began."""
        self._entities = 0
        self._records = view.seq
        """How many records have been delivered of what stood."""
        self.state = PartitionState(route.source, partition, view.position, {topic: replace(view, joined=True)})
        self._followed: Route | None = None
        self.follow(route, topic)
        self.recalls = bool(self.route.filtered) and view.seq > 0
        """Whether what it holds is still to be read from its mailbox."""
        if self.indexed and not self.recalls:
            self._deliver_on()

    def follow(self, route: Route, topic: str) -> None:
        """Go on under a plan in which the route delivers to this topic."""
        if route is self._followed:
            return
        self._followed = route
        self.topic = topic
        self.route = route.only({topic})
        self.state.aim(self.route)

    @property
    def indexed(self) -> bool:
        """Whether the first pass is over."""
        return self._last is None

    @property
    def view(self) -> ViewPosition:
        """Where the view stands with all that was committed."""
        return replace(self.state.views[self.topic], position=self.state.committed, joined=False)

    def index(self, record: SourceRecord) -> None:
        """Take a record of the first pass."""
        assert self._last is not None
        self.next = record.offset + 1
        if record.offset >= self.boundary or not is_sound(record, self.route):
            return
        entity = blake2b(record.key or b"", digest_size=16).digest()
        if record.value is None:
            self._last.pop(entity, None)
        else:
            self._last[entity] = record.offset

    def begin_delivering(self) -> None:
        """The first pass has reached the boundary."""
        assert self._last is not None
        self._standing = bytearray(self.boundary // 8 + 1)
        for offset in self._last.values():
            self._standing[offset >> 3] |= 1 << (offset & 7)
        self._entities = len(self._last)
        self._last = None
        if self.recalls:
            self.next = 0
        else:
            self._deliver_on()

    def recall(self, record: SourceRecord) -> None:
        """Take a record of the view's own mailbox: the last one of an entity tells whether the view holds it."""
        self.next = record.offset + 1
        held = self.state.held[self.topic]
        (held.discard if record.value is None else held.add)(record.key or b"")

    def end_recall(self) -> None:
        """The mailbox was read whole."""
        self.recalls = False
        self._deliver_on()

    def take(self, record: SourceRecord, policy_version: int) -> Routed:
        """The deliveries of a record of the second pass, counted in the open transaction."""
        self.next = record.offset + 1
        before = record.offset < self.boundary
        counts = not before or self._standing[record.offset >> 3] & 1 << (record.offset & 7)
        self.state.position = self.next
        if not counts:
            return NOTHING
        try:
            routed = route_record(record, self.state, policy_version)
        except (Quarantine, UnknownSchema, wire.Malformed):
            # The live flow has set it aside, and said so.
            return NOTHING
        if not before:
            return routed
        self._records = self.state.lanes.seq[0]
        # A null where the load was taken up anew, and a revision that came meanwhile made a later record readable.
        return Routed([value and as_snapshot(value) for value in routed.values], routed.nulls)

    def pass_over(self) -> None:
        """There is nothing to take between the last record taken and the offset to be read next."""
        self.state.position = self.next

    def closing_records(self, policy_version: int) -> Iterator[BusRecord]:
        """What a transaction of this load writes last."""
        source, partition, state = self.state.topic, self.state.partition, self.state
        key = view_key(source, partition, self.topic)
        slot = position_partition(source, partition)
        yield BusRecord(names.JOURNAL, -1, key, state.journal(policy_version).encode())
        if state.committed < self.boundary <= state.position:
            [delivery] = self.route.deliveries
            manifest = Manifest(delivery.grant, self.boundary, self._entities, self._records, policy_version)
            yield BusRecord(names.ROUTER_STATE, slot, manifest_key(source, partition, self.topic), manifest.encode())
        after = replace(state.touched().get(self.topic, state.views[self.topic]), position=state.position, joined=False)
        yield BusRecord(names.ROUTER_STATE, slot, key, after.encode())

    def abort(self) -> None:
        """The open transaction is gone: the source is read again from where it was committed."""
        self.state.abort()
        self._records = self.state.views[self.topic].seq
        if self.indexed and not self.recalls:
            self._deliver_on()

    def _deliver_on(self) -> None:
        self.next = self.state.committed


def followed(
    loadings: Mapping[tuple[Source, str], Loading], plan: RoutingPlan, states: Mapping[Source, PartitionState]
) -> dict[tuple[Source, str], Loading]:
    """The loads of all that is behind and delivered under a plan, those that run already among them.

    One that was let go meanwhile begins anew where its view stands, which is not where it is remembered to be.
    """
    behind = {}
    for source, state in states.items():
        route = plan.routes[source[0]]
        delivered = {delivery.topic for delivery in route.deliveries}
        for topic, view in state.behind.items():
            if topic in delivered:
                loading = loadings.get((source, topic))
                if loading is None or loading.view != view:
                    loading = Loading(route, topic, source[1], view)
                loading.follow(route, topic)
                behind[source, topic] = loading
    return behind


def as_snapshot(value: bytes) -> bytes:
    """The same delivery with SNAPSHOT as its kind of event."""
    at = wire.HEAD_BYTES
    for _ in range(_BUS_FIELDS):
        _, at = number(value, at)
    length, at = number(value, at)
    kind = at + length
    _, end = number(value, kind)
    return value[:kind] + _SNAPSHOT + value[end:]
