from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.errors import RefusedByBroker
from bianhe.infra.kafka.log import LogReader
from support.broker import create_topic, eventually, fresh, write


@pytest.fixture
def topic(broker: EmbeddedBroker) -> str:
    name = fresh("log")
    create_topic(broker, name, cleanup_policy="compact,delete")
    return name


@pytest.fixture
def reader(broker: EmbeddedBroker, topic: str) -> Iterator[LogReader]:
    with LogReader(broker.connection(), topic, 0, group=fresh("group")) as opened:
        yield opened


@pytest.fixture
def writer(broker: EmbeddedBroker) -> Producer:
    producer = clients.transactional_producer(broker.connection(), fresh("writer"), timeout=10)
    producer.init_transactions(30)
    return producer


def values(reader: LogReader) -> list[bytes | None]:
    return [record.value for record in reader.read_to_end()]


def ends_at(reader: LogReader, offset: int) -> bool:
    """A transaction's marker is written after its commit has returned."""
    return eventually(lambda: reader.end() == offset)


def test_an_empty_partition_ends_where_it_begins(reader: LogReader) -> None:
    assert values(reader) == []
    assert reader.position == 0


def test_each_record_is_read_once_and_in_order(broker: EmbeddedBroker, topic: str, reader: LogReader) -> None:
    write(broker.connection(), topic, [b"1", b"2"])
    assert values(reader) == [b"1", b"2"]
    assert values(reader) == []
    write(broker.connection(), topic, [b"3"])
    assert values(reader) == [b"3"]
    assert reader.position == 3


def test_aborted_records_are_not_seen_and_the_end_behind_them_is_found(
    topic: str, reader: LogReader, writer: Producer
) -> None:
    writer.begin_transaction()
    writer.produce(topic, b"aborted", b"key", partition=0)
    writer.flush(30)
    writer.abort_transaction(30)
    assert ends_at(reader, 2)
    assert values(reader) == []
    assert reader.position == 2
    writer.begin_transaction()
    writer.produce(topic, b"committed", b"key", partition=0)
    writer.commit_transaction(30)
    assert ends_at(reader, 4)
    assert values(reader) == [b"committed"]
    assert reader.position == 4


def test_an_open_transaction_hides_what_comes_after_it_until_it_ends(
    broker: EmbeddedBroker, topic: str, reader: LogReader, writer: Producer
) -> None:
    writer.begin_transaction()
    writer.produce(topic, b"pending", b"key", partition=0)
    writer.flush(30)
    write(broker.connection(), topic, [b"behind it"])
    assert values(reader) == []
    with Admin(broker.connection()) as admin:
        assert admin.end_offsets(topic, "read_committed") == {0: 0}
        assert admin.end_offsets(topic, "read_uncommitted") == {0: 2}
    writer.commit_transaction(30)
    assert ends_at(reader, 3)
    assert values(reader) == [b"pending", b"behind it"]


def test_a_reader_of_the_raw_log_sees_aborted_records_too(broker: EmbeddedBroker, topic: str, writer: Producer) -> None:
    writer.begin_transaction()
    writer.produce(topic, b"aborted", b"key", partition=0)
    writer.flush(30)
    writer.abort_transaction(30)
    with LogReader(broker.connection(), topic, 0, group="g", isolation="read_uncommitted") as raw_reader:
        assert ends_at(raw_reader, 2)
        assert values(raw_reader) == [b"aborted"]


def test_a_reader_that_starts_in_the_middle_reads_from_there(broker: EmbeddedBroker, topic: str) -> None:
    write(broker.connection(), topic, [b"1", b"2", b"3"])
    with LogReader(broker.connection(), topic, 0, group="g", start=2) as reader:
        assert values(reader) == [b"3"]


def test_a_position_that_the_log_no_longer_has_is_an_error_and_not_another_position(
    broker: EmbeddedBroker, topic: str, reader: LogReader
) -> None:
    write(broker.connection(), topic, [b"1", b"2", b"3"])
    with Admin(broker.connection()) as admin:
        admin.delete_records({(topic, 0): 2})
    with pytest.raises(RefusedByBroker, match=topic):
        reader.read_to_end()
    assert reader.position == 0


def test_a_topic_that_is_not_there_is_said(broker: EmbeddedBroker) -> None:
    with LogReader(broker.connection(), fresh("absent"), 0, group="g") as reader, pytest.raises(RefusedByBroker):
        reader.read_to_end()
