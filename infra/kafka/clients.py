"""Kafka clients with settings that were measured; no other module names an option of librdkafka.

Every client gets a logger: librdkafka would print to stderr without one, and its lines are the only sign of a request
that was given up and may still arrive (the router's cure for torn transactions reads them).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal

from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from bianhe.infra.kafka.connection import Connection

LOGGER = logging.getLogger("bianhe.kafka")
# Where nobody configured logs, Python would print every line of librdkafka, and a lost broker gives hundreds.
LOGGER.addHandler(logging.NullHandler())
WAITING = logging.getLogger("bianhe.waiting")
"""Says that no broker answers; Python prints it even where nobody configured logs."""
WAITING_SECONDS = 30.0

Isolation = Literal["read_committed", "read_uncommitted"]
Start = Literal["earliest", "error"]
"""Where to begin where no position is known; `error` raises instead of guessing."""

Options = dict[str, str | int | float | bool | Callable[[KafkaError], None]]

QUEUE_MAX = 1_000_000
"""Records that wait to be sent; 256 MB of them at most."""
TRANSACTION_LINGER_MS = 100
"""As long as a transaction is filled: its commit sends what waits, and whole batches cost the broker half as much."""
RECORD_BYTES_MAX = 4_000_000
"""Above every topic's own limit: the topic decides what is too large."""


def producer(
    connection: Connection,
    *,
    linger_ms: int = 5,
    delivery_timeout: float = 120.0,
    reports: bool = True,
    queue: int = 100_000,
    on_error: Callable[[KafkaError], None] | None = None,
) -> Producer:
    """A producer that neither doubles nor reorders; each record's delivery callback is called.

    A record is tried again for `delivery_timeout` seconds and then reported as not delivered. Without `reports`
    callbacks are called for failures alone. What waits is in memory: a file of any size takes a `queue` of it.
    """
    options: Options = {
        "delivery.timeout.ms": int(delivery_timeout * 1000),
        "delivery.report.only.error": not reports,
        "queue.buffering.max.messages": queue,
    }
    return Producer(_producing(connection, linger_ms, on_error) | options, logger=LOGGER)


def transactional_producer(
    connection: Connection,
    transactional_id: str,
    timeout: float = 15.0,
    *,
    linger_ms: int = TRANSACTION_LINGER_MS,
    logger: logging.Logger = LOGGER,
) -> Producer:
    """A producer for one transactional id; a transaction open longer than `timeout` seconds is aborted by the broker.

    Delivery callbacks are called for failures only. The caller reads `logger` for lines that begin REQTMOUT or FAIL.
    """
    options: Options = {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": int(timeout * 1000),
        "delivery.report.only.error": True,
    }
    return Producer(_producing(connection, linger_ms, None) | options, logger=logger)


def consumer(
    connection: Connection,
    group: str,
    *,
    instance: str | None = None,
    start: Start = "earliest",
    isolation: Isolation = "read_committed",
    shows_ends: bool = False,
    on_error: Callable[[KafkaError], None] | None = None,
) -> Consumer:
    """A consumer that commits nothing by itself. With `instance` it is a static member, missed after 8 s.

    With `shows_ends` it gives an EOF event whenever it has read a partition to its end.
    """
    options: Options = _consuming(connection, group, isolation, on_error) | {
        "auto.offset.reset": start,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.partition.eof": shows_ends,
        "fetch.wait.max.ms": 100,
    }
    if instance is not None:
        options |= {"group.instance.id": instance, "session.timeout.ms": 8000, "heartbeat.interval.ms": 2000}
    return Consumer(options, logger=LOGGER)


def end_consumer(connection: Connection, group: str, isolation: Isolation) -> Consumer:
    """A consumer that shows where a partition ends (an EOF event, 10 ms later) and raises where a position is lost."""
    options: Options = {
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
        # At the default, 100, an idle client knocks twenty times a second for as long as no broker answers; it joins no
        # group and opens no transaction, whose beginning would take as much longer (decision 0016).
        "reconnect.backoff.ms": 1000,
    }
    return Consumer(_consuming(connection, group, isolation, None) | options, logger=LOGGER)


def arrived(consumer: Consumer, count: int, wait_seconds: float) -> list[Message]:
    """Up to `count` messages that have come; where none has, the next one, if it comes in time.

    `Consumer.consume` by itself waits until it has as many as were asked for.
    """
    return consumer.consume(count, 0) or consumer.consume(1, wait_seconds)


def admin(connection: Connection) -> AdminClient:
    return AdminClient(_common(connection, None), logger=LOGGER)  # type: ignore[arg-type]


def _common(connection: Connection, on_error: Callable[[KafkaError], None] | None) -> Options:
    options: Options = {
        "bootstrap.servers": connection.bootstrap,
        "security.protocol": "SASL_SSL" if connection.ca_file else "SASL_PLAINTEXT",
        "sasl.mechanism": connection.mechanism,
        "sasl.username": connection.account,
        "sasl.password": connection.password.get_secret_value(),
        "client.id": "bianhe",
        "reconnect.backoff.max.ms": 1000,
        # Where no broker answers, the default forgets them all, and a question that waits spins (decision 0016).
        "metadata.recovery.strategy": "none",
        "log.connection.close": True,
        "enable.metrics.push": False,
        "error_cb": _Outage(connection.bootstrap, on_error),
    }
    if connection.ca_file:
        options["ssl.ca.location"] = str(connection.ca_file)
    return options


def _producing(connection: Connection, linger_ms: int, on_error: Callable[[KafkaError], None] | None) -> Options:
    return _common(connection, on_error) | {
        "enable.idempotence": True,
        "acks": "all",
        # librdkafka's own default differs from Java's: the same key would lie in two partitions.
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "batch.size": 1_000_000,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": QUEUE_MAX,
        "queue.buffering.max.kbytes": 262_144,
        "message.max.bytes": RECORD_BYTES_MAX,
    }


def _consuming(
    connection: Connection, group: str, isolation: Isolation, on_error: Callable[[KafkaError], None] | None
) -> Options:
    return _common(connection, on_error) | {
        "group.id": group,
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A full local queue stops fetching for a whole second by default.
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 65_536,
        "max.partition.fetch.bytes": 4_194_304,
    }


class _Outage:
    """Hears a client's errors: says that no broker answers, at most every 30 s. The others librdkafka has logged."""

    def __init__(self, bootstrap: str, told: Callable[[KafkaError], None] | None) -> None:
        self._bootstrap = bootstrap
        self._told = told
        self._said = -WAITING_SECONDS

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and time.monotonic() - self._said >= WAITING_SECONDS:
            self._said = time.monotonic()
            WAITING.warning("no broker answers at %s: waiting for it", self._bootstrap)
        if self._told is not None:
            self._told(error)
