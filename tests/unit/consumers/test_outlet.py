"""The short way into the producer's queue, on librdkafka's own mock cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from bianhe.consumers.router.kafka import outlet
from bianhe.consumers.router.kafka.outlet import KNOWN_VERSIONS, open_outlet
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import compile_plan
from bianhe.consumers.router.routing import SourceRecord, route_record
from bianhe.schemas import wire
from support.policy_bodies import MAILBOX, OPEN, SOURCE, channel, granted, policy, population
from support.records import person

if TYPE_CHECKING:
    from bianhe.consumers.router.kafka._outlet import Outlet

NOW = 1_795_000_000_000
LOGGER = logging.getLogger("test.outlet")
EVENTS, BYTES, VALUE = 1000, 10**9, 10_000
KEYS = {b"a": 1, b"Z9_-": 1, b"4" * 17: 1, b"x" * 64: 1, b"91410200MA3X4Y5Z6Q": 1, b"410202199001010018": 0}
"""And whether each is delivered without a second look."""

pytest.importorskip("bianhe.consumers.router.kafka._outlet", reason="no compiler was here")


def a_state(*bodies: Any) -> PartitionState:
    state = PartitionState(SOURCE, 0, committed=0)
    state.aim(compile_plan(policy(population(), *bodies), b"p" * 32).routes[SOURCE])
    return state


def message(offset: int, key: bytes | None, value: bytes | None, partition: int = 0) -> Message:
    return Message(topic=SOURCE, partition=partition, offset=offset, key=key, value=value, timestamp=(2, NOW))


def refuse(*record: object) -> None:
    raise AssertionError("the queue has room")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    cluster = Producer({"test.mock.num.brokers": 1}, logger=LOGGER)
    [broker] = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    cluster.flush(1)


@pytest.fixture(scope="module")
def producer(mock: str) -> Producer:
    options = {"bootstrap.servers": mock, "transactional.id": "bus.router.0", "client.id": "bianhe", "linger.ms": 0}
    producer = Producer(options, logger=LOGGER)
    producer.init_transactions(30)
    return producer


@pytest.fixture(scope="module")
def way(producer: Producer) -> Outlet:
    found = open_outlet(producer)
    if found is None:
        pytest.skip("another version of the client")
    return found


def read(mock: str, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    consumer = Consumer({"bootstrap.servers": mock, "group.id": "test", "enable.auto.commit": False}, logger=LOGGER)
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [(found.key(), found.value()) for found in consumer.consume(count, 30)]
    finally:
        consumer.close()


def test_the_short_way_is_open_for_known_versions_of_the_client_only(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (open_outlet(producer) is not None) is (metadata.version("confluent-kafka") in KNOWN_VERSIONS)
    monkeypatch.setattr(outlet, "KNOWN_VERSIONS", ())
    assert open_outlet(producer) is None


def test_it_is_not_taken_into_a_producer_that_takes_records_outside_of_transactions(mock: str) -> None:
    assert open_outlet(Producer({"bootstrap.servers": mock, "client.id": "bianhe"}, logger=LOGGER)) is None


def test_the_short_way_and_the_long_way_write_the_same(mock: str, producer: Producer, way: Outlet) -> None:
    bodies = channel(), granted("name prefix 张", ("citizen_id=first:6",))
    long, short = a_state(*bodies), a_state(*bodies)
    people = [person(name=name) for name in ("张三", "李四", "张五", "王六")]
    expected: dict[str, list[tuple[bytes, bytes]]] = {OPEN: [], MAILBOX: []}
    for offset, value in enumerate(people):
        values, _ = route_record(SourceRecord(offset, b"k%d" % offset, value, NOW), long, 7)
        for topic, delivered in zip(long.topics, values, strict=True):
            if delivered is not None:
                expected[topic].append((b"k%d" % offset, delivered))
    after: list[int] = []
    producer.begin_transaction()
    messages = [message(offset, b"k%d" % offset, value) for offset, value in enumerate(people)]
    taken, position, size = way.topics(short.topics).run(
        messages, 0, SOURCE, 0, 0, short.delivering, 7, EVENTS, BYTES, VALUE, refuse, lambda _, at, __: after.append(at)
    )
    producer.commit_transaction(30)
    assert (taken, position, after) == (4, 4, [0, 1, 2, 3])
    # One that the rule keeps back costs what it came as.
    went = [sum(len(each) for w in expected.values() for key, each in w if key == b"k%d" % at) for at in range(4)]
    assert size == sum(max(len(came), written) for came, written in zip(people, went, strict=True))
    assert {topic: read(mock, topic, len(written)) for topic, written in expected.items()} == expected
    assert (list(short.lanes.seq), list(short.lanes.kept_back)) == (list(long.lanes.seq), list(long.lanes.kept_back))


def test_it_stops_before_whatever_is_not_plain(producer: Producer, way: Outlet) -> None:
    value = person()
    odd = [
        message(1, b"k", None),
        message(1, None, value),
        message(1, b"k", b"\0"),
        message(1, b"k", b"\1" + value[1:]),
        message(1, b"k", wire.frame(999, value[5:])),
        message(1, b"k", value[:-1]),
        message(1, b"k", value + b"\0"),
        message(1, b"k", value, partition=1),
        message(0, b"k", value),
        message(1, b"k" * 65, value),
        message(1, b"", value),
        message(1, "键".encode(), value),
    ]
    producer.begin_transaction()
    for one in odd:
        state = a_state(channel())
        run = way.topics(state.topics).run
        messages = [message(0, b"k", value), one, message(2, b"k", value)]
        assert run(messages, 0, SOURCE, 0, 0, state.delivering, 7, EVENTS, BYTES, VALUE, refuse, None)[:2] == (1, 1)
        assert list(state.lanes.seq) == [1]
    producer.abort_transaction(30)


def test_it_ends_where_the_transaction_is_full_or_a_value_too_long(producer: Producer, way: Outlet) -> None:
    producer.begin_transaction()
    messages = [message(offset, b"k", person()) for offset in range(4)]
    for events, size, value, taken in ((3, BYTES, VALUE, 3), (EVENTS, 1, VALUE, 1), (0, BYTES, VALUE, 0)):
        state = a_state(channel())
        run = way.topics(state.topics).run
        assert run(messages, 0, SOURCE, 0, 0, state.delivering, 7, events, size, value, refuse, None)[0] == taken
    state = a_state(channel())
    small = way.topics(state.topics).run(messages, 0, SOURCE, 0, 0, state.delivering, 7, 9, BYTES, 10, refuse, None)
    assert small == (0, 0, 0)
    producer.abort_transaction(30)


def test_a_key_is_plain_where_the_long_way_takes_it_at_first_sight(producer: Producer, way: Outlet) -> None:
    producer.begin_transaction()
    for key, plain in KEYS.items():
        state = a_state(channel())
        run = way.topics(state.topics).run
        messages = [message(0, key, person())]
        assert run(messages, 0, SOURCE, 0, 0, state.delivering, 7, 9, BYTES, VALUE, refuse, None)[0] == plain
        if plain:
            route_record(SourceRecord(0, key, person(), NOW), state, 7)
    producer.abort_transaction(30)
