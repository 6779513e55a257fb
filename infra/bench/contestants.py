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

from bianhe.consumers.router.limits import Limits
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
    """Slices prepared source records and writes what comes out, in transactions."""


def topic(kind: Kind, views: int, view: int) -> str:
    return f"bench.{kind.replace(' ', '-')}.{views}.{view}"


def run(
    kind: Kind, connection: Connection, views: int, worker: int, values: Values, count: int, ready: Barrier
) -> None:
    """One process of a contestant: `count` records of the source, those of its partitions."""
    partitions = range(worker, PARTITIONS, WORKERS)
    topics = [topic(kind, views, view) for view in range(views)]
    deliver = delivering(views)
    cut = [[each or b"" for each in deliver(value, 1_000_000, 100, 0)] for value in values]
    again = delivering(views)
    number = range(len(values))

    def prepared(at: int) -> list[bytes]:
        return cut[at % len(number)]

    def sliced(at: int) -> list[bytes]:
        return again(values[at % len(number)], at, 100, 0)  # type: ignore[return-value]

    if kind is Kind.PLAIN_WRITER:
        writer: _Writer = _Writer(clients.producer(connection, linger_ms=5))
    else:
        writer = _Transactions(
            clients.transactional_producer(connection, f"bench.{kind.replace(' ', '-')}.{views}.{worker}")
        )
    records: Iterator[tuple[int, int, bytes]]
    if kind is Kind.COPIER:
        consumer = clients.end_consumer(connection, "bench", "read_committed")
        records = _consumed(consumer, source(views).topic, list(partitions), count, writer)
    else:
        records = ((at, at % PARTITIONS, b"e%d" % at) for at in range(count) if at % PARTITIONS in partitions)
    ready.wait()
    writer.write(records, topics, sliced if kind is Kind.KERNEL else prepared)


class _Writer:
    """Writes without transactions."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.limits = Limits()

    def write(
        self, records: Iterator[tuple[int, int, bytes]], topics: list[str], made: Callable[[int], list[bytes]]
    ) -> None:
        produce, since, bytes_since, begun = self.producer.produce, 0, 0, 0.0
        for at, partition, key in records:
            if not since:
                begun = time.monotonic()
                self.begin()
            for name, value in zip(topics, made(at), strict=True):
                bytes_since += len(value)
                try:
                    produce(name, value, key, partition)
                except BufferError:
                    self.producer.poll(0.02)
                    produce(name, value, key, partition)
            since += 1
            if (
                since >= self.limits.events_max
                or bytes_since >= self.limits.bytes_max
                or (not at % 100 and time.monotonic() - begun > self.limits.transaction_seconds_max)
            ):
                self.commit()
                since = bytes_since = 0
        if since:
            self.commit()
        self.producer.flush(60)

    def begin(self) -> None: ...

    def commit(self) -> None:
        self.producer.poll(0)


class _Transactions(_Writer):
    """Writes in transactions; a copier's carry its positions."""

    def __init__(self, producer: Producer) -> None:
        super().__init__(producer)
        self.consumer: Consumer | None = None
        self.positions: dict[int, int] = {}
        self.source = ""
        producer.init_transactions(60)

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
