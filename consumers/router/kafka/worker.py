"""The worker: one consumer, one transactional producer, one reader of the policy log, one thread (design 3.3).

All it writes (deliveries, journal, state, positions) stands in one transaction. What it believes after any fault it
reads back from `bus.router-state`, which decides; the group's offsets serve fencing and lag only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bianhe.consumers.router.kafka.assignment import Assignment, DeliveryTopicGone, Source, source_of, sources_of
from bianhe.consumers.router.kafka.loads import Loads
from bianhe.consumers.router.kafka.policy import FollowedPolicy
from bianhe.consumers.router.kafka.recovery import Recovery
from bianhe.consumers.router.kafka.writer import Deadline, TransactionAborted, WorkerStops, Writer
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import RoutingPlan
from bianhe.consumers.router.routing import Quarantine, SourceRecord, UnknownSchema, route_record
from bianhe.consumers.router.transaction import Budget, closing_records, quarantined
from bianhe.infra import telemetry
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.raw import leave_group
from bianhe.schemas import names
from bianhe.schemas.errors import Rejected, Transient
from bianhe.schemas.wire import Malformed

log = structlog.get_logger("bianhe.router")


class TooManyBad(Rejected):
    """One more bad record than a source partition may have in a row."""


class Worker:
    """Routes the source partitions that the group gives it, until told to stop."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        pseudonym_key: bytes | None,
        limits: Limits,
        deadline: Deadline = nullcontext,
    ) -> None:
        self._connection = connection
        self._id = names.router_transactional_id(number)
        self._limits = limits
        self._acknowledged = 0
        self._behind = False
        """Whether views wait for their first load."""
        self._backlog: deque[Message] = deque()
        """Consumed, but not yet routed."""
        self._doubted: tuple[Source, int] | None = None
        """A record whose schema id was unknown once: at a policy read after it, it is decided."""
        self._ended = 0.0
        """When its last transaction did."""
        self._writer = Writer(connection, self._id, limits, deadline)
        self._recovery = Recovery(connection, limits)
        self._policy = FollowedPolicy(connection, self._id, pseudonym_key, self._recovery.existing)
        self._loads = Loads(connection, self._writer, limits)
        self._consumer: Consumer = clients.consumer(
            connection, names.ROUTER_GROUP, instance=self._id, start="error", isolation="read_committed"
        )
        self._assignment = Assignment(self._consumer, self._recovery)

    def run(self, stop: Callable[[], bool]) -> None:
        """Route until `stop` says so; raises WorkerStops where only a new process can go on.

        Then the clients are left as they are: to close one in the middle of a fault can wait for its broker for ever.
        """
        try:
            while not stop():
                self.step()
        except (KafkaException, SystemError) as error:
            raise WorkerStops("the Kafka client failed", cause=str(error)) from error
        self._consumer.close()
        leave_group(self._connection, names.ROUTER_GROUP, self._id)

    def step(self) -> None:
        """One turn: the policy, what has come to be recovered, one transaction, one slice of a first load."""
        messages: list[Message] = []
        try:
            self._follow_policy()
            if self._renewed():
                # Whoever shut the former producer out relies on what the policy log said by then: it is read again.
                return
            self._recover_awaiting()
            # The first record begins a transaction; the rest is fetched within it.
            messages = self._next_messages(self._limits.idle_wait_seconds, 1)
            if self._plan.awaiting:
                if messages:
                    # Nothing is fetched within it: whether the topics are there is asked once all of it was consumed.
                    messages += self._next_messages(self._limits.gathering_seconds, self._limits.records_per_fetch)
                self._look_for_topics()
        except Transient as fault:
            if messages:
                self._rewind()
            self._wait(fault)
            return
        begun = time.monotonic()
        if messages or self._owes:
            self._transact(messages)
        if self._behind:
            self._loads.live_took(time.monotonic() - begun if messages else 0)
            if not self._renewed():
                self._load()

    @property
    def _plan(self) -> RoutingPlan:
        return self._policy.plan

    @property
    def settled(self) -> bool:
        """Whether all that the group gave it is recovered, and every view goes with the live flow."""
        return not self._assignment.awaiting and not self._behind

    @property
    def _owes(self) -> bool:
        """Whether something must be written down although nothing arrived."""
        return self._acknowledged < self._plan.policy_version or any(
            s.changed for s in self._assignment.states.values()
        )

    def _wait(self, fault: Transient) -> None:
        """Fail closed: nothing is routed while the policy log cannot be read, but partitions can come and go."""
        log.warning("waiting", fault=str(fault))
        # Only a call that may hand out a record serves the group; one that lets go replaces the backlog.
        if len(self._backlog) < self._limits.records_per_fetch:
            arrived = self._consumed(0, 1)
            self._backlog.extend(arrived)
        else:
            self._rewind()
        time.sleep(self._limits.idle_wait_seconds)

    def _next_messages(self, wait_seconds: float, count: int) -> list[Message]:
        if self._backlog:
            messages = list(self._backlog)
            self._backlog.clear()
            return messages
        if not self._plan.routes:
            time.sleep(max(wait_seconds, 0))
            return []
        return self._consumed(max(wait_seconds, 0), count)

    def _consumed(self, wait_seconds: float, count: int) -> list[Message]:
        arrived = self._consumer.consume(count, wait_seconds)
        for message in arrived:
            if (error := message.error()) is not None:
                self._note(error)
        return [message for message in arrived if message.error() is None]

    def _note(self, error: KafkaError) -> None:
        """An event of the consumer that is no record."""
        if error.fatal() or error.name() in ("_FATAL", "_FENCED"):
            raise WorkerStops("the group refuses this worker", cause=error.str())
        log.warning("consumer", error=error.name(), detail=error.str())

    # The policy

    def _follow_policy(self) -> None:
        known = self._plan.routes.keys()
        if not self._policy.follow():
            return
        self._aim()
        if self._plan.routes.keys() != known:
            self._consumer.subscribe(
                sorted(self._plan.routes),
                on_assign=self._assignment.on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        log.info("policy", version=self._plan.policy_version, sources=len(self._plan.routes))

    def _look_for_topics(self) -> None:
        """A delivery topic that was made before a record was written gets it, so this is asked after consuming.

        Asked on a quiet source too: what stands there waits for its first load.
        """
        if self._policy.look_for_topics():
            self._aim()

    def _aim(self) -> None:
        """Bring every partition to the plan, or to a view that has joined."""
        self._assignment.aim(self._plan)
        self._see_who_is_behind()

    def _see_who_is_behind(self) -> None:
        self._behind = self._assignment.is_behind(self._plan)

    # First loads

    def _load(self) -> None:
        self._loads.follow(self._plan, self._assignment.states)
        try:
            if self._loads.advance(self._plan, self._assignment.states, self._consumer.consumer_group_metadata):
                self._aim()
        except Transient as fault:
            self._writer.abort()
            log.warning("first load waits", reason=str(fault))

    # One transaction

    def _transact(self, messages: list[Message]) -> None:
        budget = Budget(self._limits, time.monotonic(), self._ended)
        try:
            self._writer.begin()
            while not self._route(messages, budget) and self._writer.is_open and not self._plan.awaiting:
                patience = budget.patience(time.monotonic())
                # Less than was asked for is all there was: who waits for more makes everybody wait.
                if patience <= 0 and len(messages) < self._limits.records_per_fetch:
                    break
                messages = self._next_messages(patience, self._limits.records_per_fetch)
            if self._writer.is_open:
                self._commit()
            else:
                # A rebalance inside consume() ended the transaction, perhaps by an abort that set positions back:
                # what it handed out lies behind them and is read again.
                self._rewind()
        except TransactionAborted as aborted:
            log.warning("aborted", reason=str(aborted))
            telemetry.ROUTER_ABORTS.inc()
            self._rewind()
        self._ended = time.monotonic()
        telemetry.ROUTER_TRANSACTION_SECONDS.observe(self._ended - budget.begun_seconds)

    def _route(self, messages: list[Message], budget: Budget) -> bool:
        """Route messages into the open transaction; True where it must end. What is not routed stays in the backlog."""
        if not self._writer.is_open:
            return True
        source: Source | None = None
        state: PartitionState | None = None
        at = 0
        while at < len(messages):
            message = messages[at]
            place = source_of(message)
            if place != source:
                source, state = place, self._assignment.states.get(place)
            offset = message.offset()
            if state is None or offset is None or offset < state.position:
                at += 1
                continue
            if budget.full:
                break
            if taken := self._writer.run(messages, at, state, self._plan.policy_version, budget):
                at += taken
                continue
            try:
                self._route_one(
                    SourceRecord(offset, message.key(), message.value(), message.timestamp()[1]), state, budget
                )
            except TooManyBad:
                state.stands_still = True
                break
            except UnknownSchema:
                self._doubted = (place, offset)
                break
            at += 1
            if budget.spent(time.monotonic(), behind=True):
                break
        else:
            return budget.spent(time.monotonic(), behind=len(messages) >= self._limits.records_per_fetch)
        self._backlog.extend(messages[at:])
        return True

    def _route_one(self, record: SourceRecord, state: PartitionState, budget: Budget) -> None:
        written = 0
        try:
            routed = route_record(record, state, self._plan.policy_version)
        except (Quarantine, Malformed, UnknownSchema) as reason:
            if isinstance(reason, UnknownSchema) and self._doubted != ((state.topic, state.partition), record.offset):
                raise
            if not state.cap.admits(record.offset):
                raise TooManyBad(str(reason)) from reason
            note = quarantined(record, state.topic, state.partition, str(reason))
            self._writer.produce(note.topic, note.partition, note.key.encode(), note.value)
            state.quarantined += 1
        else:
            written = self._writer.write(state, record.key or b"", routed)
        budget.took(max(len(record.value or b""), written))
        state.position = record.offset + 1

    def _commit(self) -> None:
        version = self._plan.policy_version
        changed = [state for state in self._assignment.states.values() if state.changed]
        for note in closing_records(changed, version, self._id, self._acknowledged):
            self._writer.produce(note.topic, note.partition, note.key.encode(), note.value)
        positions = [TopicPartition(state.topic, state.partition, state.position) for state in changed]
        self._writer.commit(positions, self._consumer.consumer_group_metadata())
        standing = {(state.topic, state.partition) for state in changed if state.stands_still}
        for state in changed:
            _tell(state)
            state.commit()
        telemetry.ROUTER_POLICY.set(version)
        self._acknowledged = version
        if standing:
            self._recover_later(standing)

    def _rewind(self) -> None:
        """After an abort: nothing of the transaction counts, its records are read again."""
        self._backlog.clear()
        self._assignment.rewind()

    # Partitions come and go

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Whatever becomes of it, `_transact` sets what stays ours to where the log says that it is.
        if self._writer.is_open:
            try:
                self._commit()
            except TransactionAborted as reason:
                log.warning("aborted while letting go", reason=str(reason))
        self._let_go(sources_of(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._writer.abort()
        self._let_go(sources_of(partitions))

    def _let_go(self, sources: set[Source]) -> None:
        self._assignment.remove(sources)
        self._forget_backlog(sources)

    def _recover_later(self, sources: set[Source]) -> None:
        self._assignment.recover_later(sources)
        self._forget_backlog(sources)

    def _forget_backlog(self, sources: set[Source]) -> None:
        """What was read of partitions that are no longer read in."""
        self._backlog = deque(message for message in self._backlog if source_of(message) not in sources)
        self._see_who_is_behind()

    def _recover_awaiting(self) -> None:
        for source in self._assignment.due(time.monotonic()):
            begun = time.monotonic()
            try:
                self._recover(source)
            except Transient as fault:
                # This one waits; what is recovered is routed before another is tried.
                self._assignment.put_off(source, fault, begun, time.monotonic())
                return

    def _recover(self, source: Source) -> None:
        route, released = self._plan.routes[source[0]], self._policy.released(source)
        state = self._assignment.recover(source, route, released, time.monotonic())
        if state is None:
            return
        if self._unseen(state):
            # Whoever had it before found, and wrote to, what this worker has not seen: recovered in the next turn.
            self._look_for_topics()
            if gone := self._unseen(state):
                raise DeliveryTopicGone(gone)
            return
        # Whatever was read of it before it was given away does not count.
        self._forget_backlog({source})
        self._assignment.begin(source, state)
        self._aim()

    def _unseen(self, state: PartitionState) -> frozenset[str]:
        """Topics that were written, but not yet seen to exist."""
        return self._plan.awaiting & state.views.keys()

    def _renewed(self) -> bool:
        """Before a transaction: if a request was given up, in one or idle, believe nothing of what was written."""
        if not self._writer.renewed():
            return False
        log.warning("a request was given up: new producer, state read again")
        self._recover_later(set(self._assignment.states))
        self._acknowledged = 0
        return True


def _tell(state: PartitionState) -> None:
    """Once for a transaction, never for an event: what it routed of a partition."""
    telemetry.ROUTER_EVENTS.labels(state.topic).inc(state.position - state.committed)
    telemetry.ROUTER_QUARANTINED.labels(state.topic).inc(state.quarantined)
    telemetry.ROUTER_DELIVERIES.labels(state.topic).inc(state.written)
