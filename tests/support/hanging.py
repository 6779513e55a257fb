"""A transaction that no coordinator knows, left on a real broker as a broker's fault leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kafka.record.memory_records import MemoryRecordsBuilder  # type: ignore[import-untyped]

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.session import Session
from support.broker import eventually, fresh
from support.kafka_messages import ask

PRODUCER_ID: Final = 4711
_VERIFIED: Final = "transaction.partition.verification.enable"


def leave_open(broker: EmbeddedBroker, topic: str) -> None:
    """Write one record of a transaction that nobody began."""
    with _unverified(broker):
        assert eventually(lambda: takes(broker, topic))


def takes(broker: EmbeddedBroker, topic: str) -> bool:
    """Whether the broker takes a record of a transaction that nobody began."""
    builder = MemoryRecordsBuilder(
        2, 0, 100_000, transactional=True, producer_id=PRODUCER_ID, producer_epoch=0, base_sequence=0
    )
    builder.append(timestamp=0, key=b"key", value=b"value")
    builder.close()
    batch = {"Index": 0, "Records": bytes(builder.buffer())}
    values = {
        "TransactionalId": fresh("nobody"),
        "Acks": -1,
        "TimeoutMs": 10_000,
        "TopicData": [{"Name": topic, "PartitionData": [batch]}],
    }
    with Session(broker.connection()) as session:
        answer = ask(session, "Produce", 11, values)
    return bool(answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 0)


@contextmanager
def _unverified(broker: EmbeddedBroker) -> Iterator[None]:
    """The broker asks no coordinator whether a transaction was begun, as none did before KIP-890."""
    with Admin(broker.connection()) as admin:
        admin.set_broker_setting(1, _VERIFIED, "false")
        try:
            yield
        finally:
            admin.set_broker_setting(1, _VERIFIED, "true")
