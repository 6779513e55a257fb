"""A small city to measure in: an embedded broker, and for each number of views a resource with so many mailboxes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from itertools import combinations, islice
from pathlib import Path
from random import Random
from typing import Final

from pydantic import SecretStr

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.settings import write_secret
from bianhe.producers.importers import Change, Format, changes
from bianhe.producers.publisher import Event, Writer
from bianhe.producers.synthetic.history import events
from bianhe.registry.policy.kafka import signing_key
from bianhe.registry.sync import kafka as sync
from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_KINDS, Contract, shipped
from bianhe.schemas.grant import Grant
from bianhe.schemas.lanes import NO_TERM, Deliver, Lane, Lanes
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.records.policy import Body, Department, Granted, PolicyRecord, Resource, Writers
from bianhe.schemas.signatures import Role, SigningKey
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View, grant_view

PARTITIONS: Final = 4
WORKERS: Final = 2
_SOURCE_SCHEMA: Final = 100
_ITEMS: Final = 8
"""Of the contract's, in each view."""
_DISTINCT: Final = 2_000
"""Different records; they come again under other keys."""


@cache
def contract() -> Contract:
    return Contract.parse(shipped("population", 1))


def grants(views: int) -> list[Grant]:
    """As many grants as there shall be distinct views, each of eight items, on a resource of their own."""
    chosen = Random(1).sample(list(combinations(contract().by_name, _ITEMS)), views)
    return [
        Grant(
            number=f"G-2026-{number:04}",
            department=f"d{number:02}",
            resource=resource(views),
            version=1,
            items=items,
            purpose="业务协同",
            basis="模拟",
            scenario="模拟",
            scope="模拟",
            until=date(2099, 12, 31),
        )
        for number, items in enumerate(chosen, views * 100)
    ]


def resource(views: int) -> str:
    return f"bench{views}"


def mailboxes(views: int) -> list[str]:
    return [names.mailbox(each.department, each.resource, 1, each.number) for each in grants(views)]


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
    cut: list[tuple[View, bytes | None]] = [(grant_view(contract(), each), None) for each in grants(views)]
    frame = wire.frame(_SOURCE_SCHEMA + 1, b"")
    return Slicer(contract(), cut).delivering(Lanes([Lane(slot, frame, NO_TERM, 0, False) for slot in range(views)]))


@dataclass(frozen=True)
class City:
    """A running broker with the policy of all resources in force, and no router yet."""

    broker: EmbeddedBroker
    children: Children

    def fill(self, views: int, values: Sequence[bytes], count: int) -> None:
        """Write so many records to the source of a resource, the partitions in turn."""
        producer = clients.producer(self.broker.connection(), linger_ms=20)
        topic = names.source_topic(resource(views), 1)
        for number in range(count):
            while True:
                try:
                    producer.produce(topic, values[number % len(values)], f"e{number}", number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        if left := producer.flush(120):
            raise RuntimeError(f"{left} records were not written in two minutes")

    def start_router(self) -> list[int]:
        """Start the workers; their process ids."""
        for worker in range(WORKERS):
            self.children.start(_worker(worker), "bianhe.consumers.router", str(worker))
        return [self.children.pid(_worker(worker)) for worker in range(WORKERS)]


def _worker(number: int) -> str:
    return f"router-{number}"


@contextmanager
def a_city(folder: Path, views: Sequence[int]) -> Iterator[City]:
    """Start a broker in a folder and put the policy in force: a resource with as many mailboxes for each of `views`."""
    with EmbeddedBroker(folder / "kafka") as broker:
        files = folder / "kafka" / "secrets"
        sync.prepare(broker.connection(), files)
        write_secret(files / "pseudonym-key", SecretStr(secrets.token_hex(32)))
        _decide(broker, [body for each in views for body in _bodies(each)], signing_key(files, Role.RELAY))
        sync.apply(broker.connection(), sync.plan_cluster(broker.connection()).steps, files)
        environment = {
            "BIANHE_HOME": str(folder),
            "BIANHE_KAFKA__BOOTSTRAP": broker.bootstrap,
            "BIANHE_KAFKA__SECRETS": str(files),
            "BIANHE_DATABASE": "sqlite://",
        }
        children = Children(folder / "logs", environment)
        try:
            yield City(broker, children)
        finally:
            children.stop()


def _bodies(views: int) -> Iterator[Body]:
    text = shipped("population", 1)
    yield Resource(
        code=resource(views),
        provider="gongan",
        version=1,
        partitions=PARTITIONS,
        erasure_days=30,
        schema_id=_SOURCE_SCHEMA,
        contract=text,
    )
    for grant, topic in zip(grants(views), mailboxes(views), strict=True):
        yield Department(code=grant.department, title="模拟")
        yield Granted(grant=grant, digest=grant.digest, topic=topic, schema_id=_SOURCE_SCHEMA + 1, view_schema="")


def _decide(broker: EmbeddedBroker, bodies: Sequence[Body], key: SigningKey) -> None:
    relay = clients.transactional_producer(broker.connection(), names.RELAY_TRANSACTIONAL_ID)
    relay.init_transactions(30)
    relay.begin_transaction()
    policy = EMPTY
    for body in [Writers(transactional_ids=tuple(map(names.router_transactional_id, range(WORKERS)))), *bodies]:
        number = policy.version + 1
        record = key.sign(
            PolicyRecord(number=number, previous=policy.head, id=f"bench-{number}", at=datetime.now(UTC), body=body)
        )
        policy = fold(policy, [record])
        relay.produce(names.POLICY, record.encode())
    relay.commit_transaction(30)
