"""What the router is measured against: programs that write the same bytes and do nothing else.

Each runs as processes of its own, as many as the router has workers, on the same partitions, with the router's client
settings and the router's limits of a transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from multiprocessing.synchronize import Barrier

from confluent_kafka import Consumer, Producer, TopicPartition

from bianhe.consumers.router.kafka.outlet import open_outlet
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.transaction import Budget
from bianhe.infra.bench.city import PARTITIONS, WORKERS, delivering, source
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection

Values = list[bytes]


class Kind(StrEnum):
    """The contestants beside the router."""

    WRITER = "writer"
    """Writes prepared deliveries, in transactions."""
    PLAIN_WRITER = "plain writer"
    """The same without transactions."""
    COPIER = "copier"
    """Consumes the source and writes a prepared delivery for each record, in transactions, with its positions."""
    KERNEL = "kernel and produce"
    """Slices prepared source records and writes what comes out by the router's short way, in transactions."""
    C_WRITER = "C writer"
    """Writes prepared deliveries by the router's short way: what librdkafka can do, a call from Python for each event
    apart. Where there is no short way it is the writer."""


def topic(kind: Kind, views: int, view: int) -> str:
    return f"bench.{kind.replace(' ', '-')}.{views}.{view}"


def run(
    kind: Kind, connection: Connection, views: int, worker: int, values: Values, count: int, ready: Barrier
) -> None:
    """One process of a contestant: `count` records of the source, those of its partitions."""
    partitions = range(worker, PARTITIONS, WORKERS)
    topics = [topic(kind, views, view) for view in range(views)]
    deliver = delivering(views)
    cut = [deliver(value, 1_000_000, 100, 0) for value in values]
    again = delivering(views)
    number = range(len(values))

    def prepared(at: int) -> list[bytes | None]:
        return cut[at % len(number)]

    def sliced(at: int) -> list[bytes | None]:
        return again(values[at % len(number)], at, 100, 0)

    writer: _Writer
    if kind is Kind.PLAIN_WRITER:
        linger, queue = clients.TRANSACTION_LINGER_MS, clients.QUEUE_MAX
        writer = _Writer(clients.producer(connection, linger_ms=linger, reports=False, queue=queue), topics)
    else:
        id = f"bench.{kind.replace(' ', '-')}.{views}.{worker}"
        writer = _Transactions(clients.transactional_producer(connection, id), topics)
        if kind in (Kind.KERNEL, Kind.C_WRITER):
            writer.go_the_short_way()
    records: Iterator[tuple[int, int, bytes]]
    if kind is Kind.COPIER:
        consumer = clients.end_consumer(connection, "bench", "read_committed")
        records = _consumed(consumer, source(views).topic, list(partitions), count, writer)
    else:
        records = ((at, at % PARTITIONS, b"e%d" % at) for at in range(count) if at % PARTITIONS in partitions)
    ready.wait()
    writer.write(records, sliced if kind is Kind.KERNEL else prepared)


class _Writer:
    """Writes without transactions."""

    def __init__(self, producer: Producer, topics: list[str]) -> None:
        self.producer = producer
        self.topics = topics
        self.limits = Limits()
        self.queue = self._by_name

    def write(self, records: Iterator[tuple[int, int, bytes]], made: Callable[[int], list[bytes | None]]) -> None:
        since = 0
        for at, partition, key in records:
            if not since:
                budget = Budget(self.limits, time.monotonic())
                self.begin()
            budget.took(self.queue(partition, key, made(at)))
            since += 1
            fetched = not since % self.limits.records_per_fetch
            if budget.full or (fetched and budget.spent(time.monotonic(), behind=True)):
                self.commit()
                since = 0
        if since:
            self.commit()
        self.producer.flush(60)

    def _by_name(self, partition: int, key: bytes, values: list[bytes | None]) -> int:
        size = 0
        for name, value in zip(self.topics, values, strict=True):
            if value is not None:
                size += len(value)
                self.produce(name, partition, key, value)
        return size

    def produce(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, partition)
                return
            except BufferError:
                self.producer.poll(0.02)

    def begin(self) -> None: ...

    def commit(self) -> None:
        self.producer.poll(0)


class _Transactions(_Writer):
    """Writes in transactions; a copier's carry its positions."""

    def __init__(self, producer: Producer, topics: list[str]) -> None:
        super().__init__(producer, topics)
        self.consumer: Consumer | None = None
        self.positions: dict[int, int] = {}
        self.source = ""
        producer.init_transactions(60)

    def go_the_short_way(self) -> None:
        outlet = open_outlet(self.producer)
        if outlet is not None:
            topics = outlet.topics(tuple(self.topics))
            self.queue = lambda partition, key, values: topics.write(partition, key, values, self.produce)

    def begin(self) -> None:
        self.producer.begin_transaction()

    def commit(self) -> None:
        if self.consumer is not None:
            offsets = [TopicPartition(self.source, partition, at) for partition, at in self.positions.items()]
            self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), 60)
        self.producer.commit_transaction(60)


def _consumed(
    consumer: Consumer, source: str, partitions: list[int], count: int, writer: _Writer
) -> Iterator[tuple[int, int, bytes]]:
    """The last `count` records of the source, as far as they are in these partitions."""
    assert isinstance(writer, _Transactions)
    writer.consumer, writer.source = consumer, source
    share = count // PARTITIONS
    ends = {each: consumer.get_watermark_offsets(TopicPartition(source, each))[1] for each in partitions}
    consumer.assign([TopicPartition(source, each, ends[each] - share) for each in partitions])
    left = share * len(partitions)
    while left:
        for message in consumer.consume(writer.limits.records_per_fetch, 0.1):
            partition, offset = message.partition(), message.offset()
            if message.error() is None and partition is not None and offset is not None:
                writer.positions[partition] = offset + 1
                left -= 1
                yield offset, partition, bytes(message.key() or b"")
