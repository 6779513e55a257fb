"""`bianhe bench publish`: what a provider's event costs, from its items to Kafka's receipt, against doing less."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from confluent_kafka import Producer
from fastavro import schemaless_writer

from bianhe.infra.bench import city
from bianhe.infra.kafka import clients
from bianhe.infra.settings import Profile
from bianhe.producers.importers import Change, Format, changes
from bianhe.producers.kafka import LINGER_MS, Publisher, ResourcePublisher
from bianhe.producers.publisher import Event, Writer, uuid7
from bianhe.producers.synthetic.history import events
from bianhe.schemas.contract import EVENT_KINDS, EVENT_NAMES, Contract, shipped
from bianhe.schemas.names import ADMIN_ACCOUNT

_DISTINCT: Final = 2_000
_VIEWS: Final = 1
Take = Callable[[int], None]
"""Does its work for so many events."""


def compare(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """CPU microseconds for each event, of all threads of the client; interleaved, the first round thrown away."""
    with city.a_city(folder, [city.source(_VIEWS)]) as running:
        raw = clients.producer(running.broker.connection(), linger_ms=LINGER_MS)
        profile = Profile(
            department=ADMIN_ACCOUNT,
            bootstrap=running.broker.bootstrap,
            registry="http://127.0.0.1:1",  # never asked: the contract is at hand
            password_file=folder / "kafka" / "secrets" / ADMIN_ACCOUNT,
        )
        with Publisher(profile) as publisher:
            steps: dict[str, Take] = {
                "publish": _publishing(publisher),
                "check_and_encode": _encoding,
                "fastavro_encode": _bare,
                "raw_produce": lambda events: _produce(raw, events),
            }
            measured: dict[str, list[float]] = {name: [] for name in steps}
            for number in range(rounds + 1):
                for name, take in steps.items():
                    cost = _microseconds(take, count)
                    if number:
                        measured[name].append(cost)
    medians = {name: median(costs) for name, costs in measured.items()}
    return {
        "figures": [{"step": name, "cpu_us_per_event": round(value, 2)} for name, value in medians.items()],
        "ratios": {
            "publish_events_per_cpu_second": round(1e6 / medians["publish"]),
            "check_and_encode_to_fastavro_encode": round(medians["fastavro_encode"] / medians["check_and_encode"], 2),
            "publish_to_raw_produce": round(medians["raw_produce"] / medians["publish"], 2),
        },
        "conditions": {
            "events": count,
            "items": len(_contract().items),
            "rounds": f"{rounds}, after one that is thrown away; medians of CPU time",
        },
    }


def _microseconds(take: Take, count: int) -> float:
    begun = time.process_time()
    take(count)
    return 1e6 * (time.process_time() - begun) / count


def _publishing(publisher: Publisher) -> Take:
    resource = ResourcePublisher(publisher, _writer())

    def take(count: int) -> None:
        persons = _changes()
        for number in range(count):
            person = persons[number % len(persons)]
            resource.publish(person.items, person.kind)
        publisher.flush()

    return take


def _encoding(count: int) -> None:
    persons, writer, event, today = _changes(), _writer(), _event(), date(2026, 1, 1)
    for number in range(count):
        writer.event(persons[number % len(persons)].items, event, today)


def _bare(count: int) -> None:
    schema, event = _writer().schema, _event()
    fields = dict(zip(EVENT_NAMES, (event.id, event.kind, event.time, event.case), strict=True))
    records = [{**fields, **person.items} for person in _changes()]
    for number in range(count):
        schemaless_writer(BytesIO(), schema, records[number % len(records)])


def _produce(producer: Producer, count: int) -> None:
    values, topic = city.source_values(), _writer().topic
    for number in range(count):
        while True:
            try:
                producer.produce(topic, values[number % len(values)], f"e{number}")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)


def _event() -> Event:
    return Event(uuid7(1_795_000_000_000, bytes(10)), "CHANGED", datetime(2026, 1, 1, tzinfo=UTC))


@cache
def _contract() -> Contract:
    return Contract.parse(json.dumps(json.loads(shipped("population", 1)) | {"resource": city.source(_VIEWS).code}))


@cache
def _writer() -> Writer:
    return Writer.of(_contract(), 1, bytes(32))


@cache
def _changes() -> Sequence[Change]:
    """Changes of invented persons (模拟数据)."""
    people = islice(events("population", _DISTINCT, 1), _DISTINCT)
    rows = "\n".join(json.dumps(person, ensure_ascii=False) for person in people)
    read = changes(BytesIO(rows.encode()), "utf-8", Format.JSON_LINES, city.contract())
    return [each for each in read if isinstance(each, Change) and each.kind in EVENT_KINDS]
