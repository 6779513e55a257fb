"""A small city to measure in: an embedded broker, and for each number of views a resource with so many mailboxes."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from itertools import combinations, islice, product
from pathlib import Path
from random import Random
from typing import Final
from zlib import crc32

from confluent_kafka import Producer
from pydantic import SecretStr

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.settings import write_secret
from bianhe.producers.importers import Change, Format, changes
from bianhe.producers.kafka import LINGER_MS
from bianhe.producers.publisher import Event, Writer
from bianhe.producers.synthetic.history import events
from bianhe.registry.policy.kafka import signing_key
from bianhe.registry.sync import kafka as sync
from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_KINDS, Contract, shipped
from bianhe.schemas.grant import Grant
from bianhe.schemas.lanes import NO_TERM, Deliver, Lane, Lanes
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.policy import Body, Department, Granted, PolicyRecord, Resource, Writers
from bianhe.schemas.signatures import Role, SigningKey
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View, grant_view

PARTITIONS: Final = 4
WORKERS: Final = 2
GROUP_DELAY_MS: Final = 3000
"""Kafka's own default: workers that start together share each topic's partitions. One that joins a group at work is
given whole topics, and would route one of them alone while its rival has two processes."""
_SOURCE_SCHEMA: Final = 100
_ITEMS: Final = 8
"""Of the contract's, in each view."""
_DISTINCT: Final = 2_000
"""Different records; they come again under other keys."""


@cache
def contract() -> Contract:
    return Contract.parse(shipped("population", 1))


@cache
def item_sets() -> list[tuple[str, ...]]:
    """The items of distinct views."""
    return Random(1).sample(list(combinations(contract().by_name, _ITEMS)), 1000)


@dataclass(frozen=True)
class Source:
    """A resource with so many mailboxes, each of another view of eight items."""

    code: str
    views: int
    partitions: int = PARTITIONS

    @property
    def topic(self) -> str:
        return names.source_topic(self.code, 1)

    @property
    def grants(self) -> list[Grant]:
        chosen = item_sets()[: self.views]
        first = 1000 * crc32(self.code.encode())
        return [grant(first + number, f"d{number:02}", self.code, items) for number, items in enumerate(chosen)]

    @property
    def mailboxes(self) -> list[str]:
        return [names.mailbox(each.department, each.resource, 1, each.number) for each in self.grants]

    def bodies(self) -> Iterator[Body]:
        """What puts it on the policy log."""
        yield Resource(
            code=self.code,
            provider="gongan",
            version=1,
            partitions=self.partitions,
            erasure_days=30,
            schema_id=_SOURCE_SCHEMA,
            contract=shipped("population", 1),
        )
        for given, topic in zip(self.grants, self.mailboxes, strict=True):
            yield Department(code=given.department, title="模拟")
            yield granted(given, topic)


def source(views: int) -> Source:
    return Source(f"bench{views}", views)


def grant(number: int, department: str, resource: str, items: Sequence[str]) -> Grant:
    """An invented grant."""
    return Grant(
        number=f"G-2026-{number:04}",
        department=department,
        resource=resource,
        version=1,
        items=tuple(items),
        purpose="业务协同",
        basis="模拟",
        scenario="模拟",
        scope="模拟",
        until=date(2099, 12, 31),
    )


def granted(given: Grant, topic: str) -> Granted:
    return Granted(grant=given, digest=given.digest, topic=topic, schema_id=_SOURCE_SCHEMA + 1, view_schema="")


@cache
def source_values() -> list[bytes]:
    """Framed records of invented persons (模拟数据)."""
    rows = "\n".join(
        json.dumps(row, ensure_ascii=False) for row in islice(events("population", _DISTINCT, 1), _DISTINCT)
    )
    writer, today = Writer.of(contract(), _SOURCE_SCHEMA, bytes(32)), date(2026, 1, 1)
    return [
        writer.event(each.items, Event(each.event_id, each.kind, each.event_time), today).value or b""
        for each in changes(BytesIO(rows.encode()), "utf-8", Format.JSON_LINES, contract())
        if isinstance(each, Change) and each.kind in EVENT_KINDS and each.event_id and each.event_time
    ]


def delivering(views: int) -> Deliver:
    """What the router's kernel does, with nothing around it."""
    cut: list[tuple[View, bytes | None]] = [(grant_view(contract(), each), None) for each in source(views).grants]
    frame = wire.frame(_SOURCE_SCHEMA + 1, b"")
    return Slicer(contract(), cut).delivering(Lanes([Lane(slot, frame, NO_TERM, 0, False) for slot in range(views)]))


@dataclass
class City:
    """A running broker with the policy of all resources in force, and no router yet."""

    broker: EmbeddedBroker
    children: Children
    secrets: Path
    relay: Producer
    key: SigningKey
    policy: Policy = EMPTY

    def fill(self, sources: Sequence[Source], values: Sequence[bytes], count: int) -> None:
        """Write so many records to each source, its partitions in turn."""
        producer = clients.producer(self.broker.connection(), linger_ms=LINGER_MS)
        for number, each in product(range(count), sources):
            while True:
                try:
                    producer.produce(each.topic, values[number % len(values)], f"e{number}", number % each.partitions)
                    break
                except BufferError:
                    producer.poll(0.1)
        if left := producer.flush(120):
            raise RuntimeError(f"{left} records were not written in two minutes")

    def start_router(self, workers: int = WORKERS) -> list[int]:
        """Start the workers; their process ids."""
        for worker in range(workers):
            self.children.start(_worker(worker), "bianhe.consumers.router", str(worker))
        return [self.children.pid(_worker(worker)) for worker in range(workers)]

    @contextmanager
    def held(self, pids: Sequence[int]) -> Iterator[None]:
        """Stop running workers where they are; a few seconds at most, or their group takes them for dead."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def decide(self, bodies: Iterable[Body], *, synced: bool = True) -> int:
        """Put bodies on the policy log, and bring the cluster after it; the policy version then."""
        records = []
        version, head = self.policy.version, self.policy.head
        for body in bodies:
            at, id = datetime.now(UTC), f"bench-{version + 1}"
            record = PolicyRecord(number=version + 1, previous=head, id=id, at=at, body=body)
            records.append(self.key.sign(record))
            version, head = records[-1].number, records[-1].hash
        self.policy = fold(self.policy, records)
        self.relay.begin_transaction()
        for record in records:
            self.relay.produce(names.POLICY, record.encode())
        self.relay.commit_transaction(60)
        if synced:
            connection = self.broker.connection()
            sync.apply(connection, sync.plan_cluster(connection).steps, self.secrets)
        return version


def _worker(number: int) -> str:
    return f"router-{number}"


@contextmanager
def a_city(folder: Path, sources: Sequence[Source]) -> Iterator[City]:
    """Start a broker in a folder and put the policy in force."""
    with EmbeddedBroker(folder / "kafka", group_delay_ms=GROUP_DELAY_MS) as broker:
        files = folder / "kafka" / "secrets"
        sync.prepare(broker.connection(), files)
        write_secret(files / "pseudonym-key", SecretStr(secrets.token_hex(32)))
        environment = {
            "BIANHE_HOME": str(folder),
            "BIANHE_KAFKA__BOOTSTRAP": broker.bootstrap,
            "BIANHE_KAFKA__SECRETS": str(files),
            "BIANHE_DATABASE": "sqlite://",
        }
        children = Children(folder / "logs", environment)
        relay = clients.transactional_producer(broker.connection(), names.RELAY_TRANSACTIONAL_ID, 60.0)
        relay.init_transactions(30)
        try:
            city = City(broker, children, files, relay, signing_key(files, Role.RELAY))
            writers = Writers(transactional_ids=tuple(map(names.router_transactional_id, range(WORKERS))))
            city.decide([writers, *(body for each in sources for body in each.bodies())])
            yield city
        finally:
            children.stop()
