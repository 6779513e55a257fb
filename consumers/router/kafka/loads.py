"""First loads, a slice at a time between live transactions, in transactions of their own (design 3.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaError, TopicPartition

from bianhe.consumers.router.kafka.recovery import ANSWER_SECONDS
from bianhe.consumers.router.kafka.writer import Writer
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.loading import NOTHING, Loading, Source, followed
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import RoutingPlan
from bianhe.consumers.router.routing import Routed, SourceRecord
from bianhe.consumers.router.transaction import Budget
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explain, explained
from bianhe.schemas import names
from bianhe.schemas.errors import Transient

log = structlog.get_logger("bianhe.router")
Group = Callable[[], object]
SHARE: Final = 0.2
"""What first loads may take of the time of the live flow."""


class Loads:
    """The views of a worker that are behind the live flow; one at a time is read, by a consumer of its own."""

    def __init__(self, connection: Connection, writer: Writer, limits: Limits) -> None:
        self._connection = connection
        self._writer = writer
        self._limits = limits
        self._consumer = clients.end_consumer(connection, names.ROUTER_GROUP, "read_committed")
        self._loadings: dict[tuple[Source, str], Loading] = {}
        # Ends are asked of clients that never fetch: the last stable offset, then the log end.
        self._askers = tuple(
            clients.end_consumer(connection, names.ROUTER_GROUP, isolation)
            for isolation in ("read_committed", "read_uncommitted")
        )
        self._reading: tuple[Loading, str, int] | None = None
        """What the consumer is assigned to, and where it will go on."""
        self._put_off: set[tuple[Source, str]] = set()
        """Those that could not go on when they were last asked to."""
        self._credit = 0.0
        self._resting_until = 0.0

    def follow(self, plan: RoutingPlan, states: Mapping[Source, PartitionState]) -> None:
        """Between transactions: begin to load what is behind, and stop what is no longer delivered or owned."""
        self._loadings = followed(self._loadings, plan, states)

    def live_took(self, seconds: float) -> None:
        """Earn time for loads; where nothing is live they may take what a transaction may last."""
        idle = self._limits.transaction_seconds_max
        self._credit = min(self._credit + SHARE * seconds, idle) if seconds else idle

    def advance(self, plan: RoutingPlan, states: Mapping[Source, PartitionState], group: Group) -> bool:
        """Load for as long as was earned; tells whether a view has joined the live flow.

        Raises what the writer raises; after TransactionAborted the same records are read again.
        """
        if not self._loadings or self._credit < self._limits.rest_seconds or time.monotonic() < self._resting_until:
            return False
        source, topic = place = self._next()
        loading, state = self._loadings[place], states[source]
        begun, came_to = time.monotonic(), loading.next
        self._put_off.add(place)
        try:
            if not loading.indexed:
                end = self._index(loading)
            elif loading.recalls:
                end = self._recall(loading)
            else:
                end = self._deliver(loading, state, plan, group)
        except Transient:
            # Where a broker does not answer the live flow has as much time as the attempt took.
            self._resting_until = 2 * time.monotonic() - begun
            raise
        finally:
            self._credit -= time.monotonic() - begun
        if loading.next != came_to:
            self._put_off.discard(place)
        if not end or loading.next < state.position:
            return False
        state.join(topic, loading.view, loading.state.held.get(topic))
        del self._loadings[place]
        log.info("loaded", topic=topic, partition=source[1], boundary=loading.boundary, records=loading.view.seq)
        return True

    def _next(self) -> tuple[Source, str]:
        """The one to go on with: one that could not holds up no other."""
        self._put_off &= self._loadings.keys()
        if len(self._put_off) == len(self._loadings):
            self._put_off.clear()
        return next(place for place in self._loadings if place not in self._put_off)

    def _index(self, loading: Loading) -> bool:
        deadline = time.monotonic() + self._credit
        while loading.next < loading.boundary and time.monotonic() < deadline:
            for record in self._read(loading, loading.state.topic, loading.boundary):
                loading.index(record)
        if loading.next >= loading.boundary:
            loading.begin_delivering()
        return False

    def _recall(self, loading: Loading) -> bool:
        """Read the view's own mailbox to its end, once nothing on it is undecided: nobody else writes it now."""
        place = TopicPartition(loading.topic, loading.state.partition)
        with explained(self._connection, f"reading the ends of {loading.topic}"):
            stable, end = (asker.get_watermark_offsets(place, timeout=ANSWER_SECONDS)[1] for asker in self._askers)
        if stable < end:
            return False
        deadline = time.monotonic() + self._credit
        while loading.next < end and time.monotonic() < deadline:
            for record in self._read(loading, loading.topic, end):
                loading.recall(record)
        if loading.next >= end:
            loading.end_recall()
        return False

    def _deliver(self, loading: Loading, state: PartitionState, plan: RoutingPlan, group: Group) -> bool:
        """One transaction of a load; tells whether it has come to the live position."""
        deadline = time.monotonic() + self._credit
        budget = Budget(self._limits, time.monotonic())
        version = plan.policy_version
        try:
            while loading.next < state.position and time.monotonic() < deadline and not budget.spent(time.monotonic()):
                for record in self._read(loading, state.topic, state.position):
                    self._write(loading.state, record.key or b"", loading.take(record, version), budget)
            loading.pass_over()
            if loading.state.position != loading.state.committed:
                self._commit(loading, state, version, group)
        except BaseException:
            loading.abort()
            raise
        return loading.next >= state.position

    def _write(self, state: PartitionState, key: bytes, routed: Routed, budget: Budget) -> None:
        if routed == NOTHING:
            return
        if not self._writer.is_open:
            self._writer.begin()
        budget.took(self._writer.write(state, key, routed))

    def _commit(self, loading: Loading, state: PartitionState, policy_version: int, group: Group) -> None:
        if not self._writer.is_open:
            self._writer.begin()
        for note in loading.closing_records(policy_version):
            self._writer.produce(note.topic, note.partition, note.key.encode(), note.value)
        # The position is the live flow's own: it stands here so that a worker that has lost the partition is refused.
        self._writer.commit([TopicPartition(state.topic, state.partition, state.committed)], group())
        loading.state.commit()
        state.loaded(loading.topic, loading.view)

    def _read(self, loading: Loading, topic: str, end: int) -> Iterator[SourceRecord]:
        """The next records of a topic before `end`; where there are none left, `next` is there."""
        if self._reading != (loading, topic, loading.next):
            self._consumer.assign([TopicPartition(topic, loading.state.partition, loading.next)])
        messages = self._consumer.consume(self._limits.records_per_fetch, self._limits.gathering_seconds)
        self._reading = None
        for message in messages:
            error, offset = message.error(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise explain(error, self._connection, f"reading {topic} for a first load")
            assert offset is not None
            if error is None and offset < end:
                yield SourceRecord(offset, message.key(), message.value(), message.timestamp()[1])
            else:
                loading.next = max(loading.next, min(offset, end))
                return
        self._reading = loading, topic, loading.next
