"""What tests of the real broker share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaError
from pydantic import SecretStr

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.infra.kafka.connection import Connection


def fresh(stem: str) -> str:
    """A name that no other test uses: the broker is shared."""
    return f"{stem}-{uuid4().hex[:8]}"


def open_account(broker: EmbeddedBroker, account: str, *rules: AccessRule) -> Connection:
    """Make an account with these access rules and return its connection."""
    password = SecretStr(uuid4().hex)
    with Admin(broker.connection()) as admin:
        admin.set_passwords({account: password})
        admin.create_rules(rules)
    return Connection(broker.bootstrap, account, password)


def create_topic(broker: EmbeddedBroker, topic: str, partitions: int = 1, **config: str) -> None:
    with Admin(broker.connection()) as admin:
        settings = {name.replace("_", "."): value for name, value in config.items()}
        admin.create_topics({topic: Topic(partitions, settings)})


def write(connection: Connection, topic: str, values: Iterable[bytes], partition: int = 0) -> None:
    """Write records, each under itself as key, and wait until the broker has them."""
    failures: list[KafkaError] = []
    producer = clients.producer(connection)
    for value in values:
        producer.produce(
            topic,
            value,
            value,
            partition=partition,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert not failures


def processes_on(folder: Path) -> list[int]:
    """The processes whose command line or environment names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit():
                continue
            if str(folder).encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
