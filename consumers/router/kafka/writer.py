"""The one producer of a worker: all it writes stands in transactions of one transactional id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from bianhe.consumers.router.kafka.outlet import open_outlet
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.routing import SOURCE_BYTES_MAX, Null, Routed, retractions
from bianhe.consumers.router.transaction import Budget
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.schemas.errors import Fatal, Transient

if TYPE_CHECKING:
    from bianhe.consumers.router.kafka._outlet import Topics

Deadline = Callable[[float], AbstractContextManager[object]]
"""What ends the process where a block takes longer than so many seconds (ADR 0015)."""


class WorkerStops(Fatal):
    """The client refuses to go on, or another process has this worker's id: only a new process can go on."""


class TransactionAborted(Transient):
    """The transaction is gone and nothing of it counts; the same records are routed again."""


class FaultWatch(logging.Handler):
    """Notices connections that were lost, by the client's log lines, which are the only sign.

    A producer that wrote one never begins another transaction: a request that it gave up may still arrive and end that
    (librdkafka lacks the second half of KIP-890), and it may wait for ever for a coordinator (ADR 0015).
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(("REQTMOUT", "FAIL")):
            self.seen = True


class Writer:
    """Transactions of one transactional id, one at a time."""

    def __init__(self, connection: Connection, transactional_id: str, limits: Limits, deadline: Deadline) -> None:
        self._connection = connection
        self._id = transactional_id
        self._limits = limits
        self._deadline = deadline
        self._watch = FaultWatch()
        self._logger = logging.Logger(f"bianhe.router.{transactional_id}", logging.DEBUG)
        self._logger.addHandler(self._watch)
        self.is_open = False
        self._producer = self._opened()

    def _opened(self) -> Producer:
        producer = clients.transactional_producer(
            self._connection, self._id, self._limits.transaction_timeout_seconds, logger=self._logger
        )
        try:
            producer.init_transactions(self._limits.call_seconds_max)
        except KafkaException as error:
            raise _stops("init_transactions", error) from error
        # What failed until now was no request of a transaction.
        producer.poll(0)
        self._watch.seen = False
        self._outlet = open_outlet(producer)
        self._topics: dict[tuple[str, int], Topics] = {}
        return producer

    def begin(self) -> None:
        """Begin a transaction; raises WorkerStops."""
        self._guarded("begin_transaction")
        self.is_open = True

    def write(self, state: PartitionState, key: bytes, routed: Routed) -> int:
        """Queue what a record of a partition became; returns how many bytes that is."""
        topics, size = self._topics_of(state), 0
        if topics is not None and routed.values:
            size = topics.write(state.partition, key, routed.values, self.produce)
        else:
            # A removal has no values.
            for topic, value in zip(state.topics, routed.values, strict=False):
                if value is not None:
                    size += len(value)
                    self.produce(topic, state.partition, key, value)
        self._nulls(state.partition, key, routed.nulls)
        return size

    def run(self, messages: list[Message], at: int, state: PartitionState, policy_version: int, budget: Budget) -> int:
        """Route and queue messages from `at` on by the short way, as far as they are plain; returns how many.

        The first that is not, and all of them where there is no short way, are for `route_record` and `write`.
        """
        topics = self._topics_of(state)
        if topics is None:
            return 0

        def after(key: bytes, offset: int, values: list[bytes | None]) -> None:
            self._nulls(state.partition, key, retractions(key, offset, values, state, policy_version))

        taken, state.position, size = topics.run(
            messages,
            at,
            state.topic,
            state.partition,
            state.position,
            state.delivering,
            policy_version,
            self._limits.events_max - budget.events,
            self._limits.bytes_max - budget.bytes,
            SOURCE_BYTES_MAX,
            self.produce,
            after if state.filtered else None,
        )
        budget.took(size, taken)
        return taken

    def _topics_of(self, state: PartitionState) -> Topics | None:
        """The short way to the topics of a partition's lanes, None where there is none."""
        if self._outlet is None:
            return None
        topics = self._topics.get((state.topic, state.partition))
        if topics is None or topics.names is not state.topics:
            topics = self._topics[state.topic, state.partition] = self._outlet.topics(state.topics)
        return topics

    def _nulls(self, partition: int, key: bytes, nulls: Sequence[Null]) -> None:
        for topic, headers in nulls:
            self.produce(topic, partition, key, None, headers)

    def produce(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Queue one record of the open transaction; waits while the queue is full."""
        while True:
            try:
                if headers is None:
                    self._producer.produce(topic, value, key, partition)
                else:
                    self._producer.produce(topic, value, key, partition, headers=headers)  # type: ignore[arg-type]
                return
            except BufferError:
                self._producer.poll(self._limits.gathering_seconds)
            except KafkaException as error:
                self._failed("produce", error)

    def commit(self, positions: Sequence[TopicPartition], group: object) -> None:
        """Commit records and positions together; raises TransactionAborted, after which nothing of it counts."""
        wait = self._limits.transaction_timeout_seconds
        try:
            with self._deadline(self._limits.commit_seconds_max):
                if positions:
                    self._producer.send_offsets_to_transaction(list(positions), group, wait)
                self._producer.commit_transaction(wait)
        except KafkaException as error:
            self._failed("commit", error)
        self.is_open = False

    def abort(self) -> None:
        """Give the open transaction up, if there is one; raises WorkerStops."""
        if self.is_open:
            self.is_open = False
            self._guarded("abort_transaction", self._limits.call_seconds_max)

    def renewed(self) -> bool:
        """Before a transaction: replace the producer if it ever lost a broker. Then state must be recovered."""
        self._producer.poll(0)
        if not self._watch.seen:
            return False
        with self._deadline(self._limits.renewal_seconds_max):
            self._producer = self._opened()
        return True

    def _failed(self, doing: str, error: KafkaException) -> NoReturn:
        reason: KafkaError = error.args[0]
        if reason.txn_requires_abort():
            self.abort()
            raise TransactionAborted(f"{doing}: {reason.name()}", cause=reason.str()) from error
        raise _stops(doing, error) from error

    def _guarded(self, call: str, *arguments: float) -> None:
        try:
            getattr(self._producer, call)(*arguments)
        except KafkaException as error:
            raise _stops(call, error) from error


def _stops(doing: str, error: KafkaException) -> WorkerStops:
    reason: KafkaError = error.args[0]
    return WorkerStops(f"{doing}: {reason.name()}", cause=reason.str(), cure="the supervisor starts a new worker")
