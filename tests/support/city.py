"""A small city on a broker of its own: bus topics, a policy log by hand, a router process, a source to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer, TopicPartition

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.log import LogReader, LogRecord
from bianhe.registry.policy.kafka import signing_key
from bianhe.registry.sync import kafka as sync
from bianhe.schemas import names
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.policy import Body, PolicyRecord
from bianhe.schemas.signatures import Role
from support.broker import eventually
from support.records import read

ROUTER = "router-0"


@dataclass
class City:
    """What a test of the router needs. `policy` is what was put on the log so far."""

    broker: EmbeddedBroker
    children: Children
    secrets: Path
    relay: Producer
    source: Producer
    environment: dict[str, str]
    """The settings of its processes."""
    policy: Policy = EMPTY

    def decide(self, *bodies: Body, synced: bool = True) -> None:
        """Put bodies on the policy log and bring the cluster after it."""
        records: list[PolicyRecord] = []
        key = signing_key(self.secrets, Role.RELAY)
        for body in bodies:
            after = fold(self.policy, records)
            number, at = after.version + 1, datetime(2026, 11, 22, tzinfo=UTC)
            record = PolicyRecord(number=number, previous=after.head, id=f"id-{number}", at=at, body=body)
            records.append(key.sign(record))
        self.policy = fold(self.policy, records)
        self.relay.begin_transaction()
        for record in records:
            self.relay.produce(names.POLICY, record.encode())
        self.relay.commit_transaction(30)
        if synced:
            self.sync()

    def sync(self) -> None:
        """Bring the cluster after the policy log."""
        connection = self.broker.connection()
        sync.apply(connection, sync.plan_cluster(connection).steps, self.secrets)

    def publish(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.source.produce(topic, value, key)
        self.source.poll(0)

    def routed(self, topic: str, seconds: float = 60.0) -> bool:
        """Whether the router's position reaches the end of a source topic in time; a supervisor revives workers."""
        assert self.source.flush(60) == 0
        with Admin(self.broker.connection()) as admin:
            ends = {partition: end for partition, end in admin.end_offsets(topic, "read_committed").items() if end}

        def at_the_end() -> bool:
            self.children.revive()
            return self.positions(topic) == ends

        return eventually(at_the_end, seconds)

    def positions(self, topic: str) -> dict[int, int]:
        """The group's committed offsets, by partition."""
        consumer = clients.end_consumer(self.broker.connection(), names.ROUTER_GROUP, "read_committed")
        try:
            asked = [TopicPartition(topic, partition) for partition in range(4)]
            return {
                known.partition: known.offset for known in consumer.committed(asked, timeout=30) if known.offset > 0
            }
        finally:
            consumer.close()

    def records(self, topic: str, partitions: int) -> Iterator[tuple[int, LogRecord]]:
        """All committed records of a topic, partition by partition."""
        for partition in range(partitions):
            with LogReader(self.broker.connection(), topic, partition, group="test") as reader:
                for record in reader.read_to_end():
                    yield partition, record

    def delivered(
        self, topic: str, schema: Any, partitions: int
    ) -> dict[int, list[tuple[bytes, dict[str, Any] | None]]]:
        """Key and decoded value of each delivery, in order, by partition."""
        found: dict[int, list[tuple[bytes, dict[str, Any] | None]]] = {number: [] for number in range(partitions)}
        for partition, record in self.records(topic, partitions):
            found[partition].append((record.key or b"", read(schema, record.value) if record.value else None))
        return found


@contextmanager
def a_city(folder: Path) -> Iterator[City]:
    """A broker with the bus topics, and a router process that waits for a policy."""
    with EmbeddedBroker(folder / "kafka") as broker:
        secrets = folder / "kafka" / "secrets"
        sync.prepare(broker.connection(), secrets)
        key = secrets / "pseudonym-key"
        key.write_text("00" * 32)
        key.chmod(0o600)
        environment = {
            "BIANHE_HOME": str(folder),
            "BIANHE_KAFKA__BOOTSTRAP": broker.bootstrap,
            "BIANHE_KAFKA__SECRETS": str(secrets),
            "BIANHE_DATABASE": "sqlite://",
        }
        children = Children(folder / "logs", environment)
        relay = clients.transactional_producer(broker.connection(), names.RELAY_TRANSACTIONAL_ID)
        relay.init_transactions(30)
        children.start(ROUTER, "bianhe.consumers.router", "0")
        try:
            yield City(broker, children, secrets, relay, clients.producer(broker.connection()), environment)
        finally:
            children.stop()
