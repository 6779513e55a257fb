"""The monitors on a real broker: only what was committed counts, once, in its own window, through a kill."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.records.journal import JournalEntry, ViewEntry
from support.broker import eventually
from support.policies import OPEN, POPULATION, SOURCE
from support.policy_bus import PolicyBus

SECONDS = 90.0
KEY = f"{SOURCE}/0"


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyBus]:
    home = tmp_path_factory.mktemp("monitors")
    with EmbeddedBroker(home / "kafka") as broker, closing(_a_bus(broker, home)) as city:
        yield city


def _a_bus(broker: EmbeddedBroker, home: Path) -> PolicyBus:
    city = PolicyBus(broker, home, f"sqlite:///{home / 'registry.sqlite'}")
    city.decide(POPULATION.model_copy(update={"update_cycle": "实时"}))
    return city


@pytest.fixture
def children(bus: PolicyBus) -> Iterator[Children]:
    started = _children_of(bus)
    yield started
    started.stop()


def _children_of(bus: PolicyBus) -> Children:
    environment = {
        "BIANHE_HOME": str(bus.home),
        "BIANHE_DATABASE": bus.database_url,
        "BIANHE_KAFKA__BOOTSTRAP": bus.broker.bootstrap,
        "BIANHE_KAFKA__SECRETS": str(bus.secrets),
    }
    return Children(bus.home / "logs", environment)


def journal(writer: Producer, begin: int, end: int, at: float, *, committed: bool = True) -> None:
    entry = JournalEntry(begin, end, 1, 0, (ViewEntry(OPEN, end - begin, 0, end),))
    writer.begin_transaction()
    writer.produce(names.JOURNAL, entry.encode(), KEY, timestamp=int(at * 1000))
    writer.flush(30)
    if committed:
        writer.commit_transaction(30)
    else:
        writer.abort_transaction(30)


def kept(bus: PolicyBus, topic: str) -> dict[Any, Any]:
    """What a topic of the monitors holds, by key."""
    found: dict[Any, Any] = {}
    for partition in range(4):
        with LogReader(bus.admin, topic, partition, group="test") as reader:
            for record in reader.read_to_end():
                found[(record.key or b"").decode()] = record.value and json.loads(record.value)
    return {key: value for key, value in found.items() if value is not None}


def events(bus: PolicyBus, span: str) -> dict[float, int]:
    """Events by the beginning of their window, of the one source partition."""
    return {json.loads(key)[1][0]: value["events"] for key, value in kept(bus, f"monitor.{span}").items()}


def through(bus: PolicyBus) -> int:
    with Admin(bus.admin) as admin:
        topics = admin.topics()
    return kept(bus, "monitor.latest").get(json.dumps(KEY), {}).get("through", 0) if "monitor.latest" in topics else 0


def positions(bus: PolicyBus) -> tuple[int, int]:
    """How far the monitors have committed the journal, and where it ends, in all partitions together."""
    with closing(clients.end_consumer(bus.admin, names.MONITOR_GROUP, "read_committed")) as asker:
        places = [TopicPartition(names.JOURNAL, partition) for partition in range(4)]
        committed = sum(max(place.offset, 0) for place in asker.committed(places, timeout=30))
        return committed, sum(asker.get_watermark_offsets(place, timeout=30)[1] for place in places)


def test_what_was_committed_counts_once_in_its_own_window_through_a_kill(bus: PolicyBus, children: Children) -> None:
    writer = clients.transactional_producer(bus.admin, "monitors-test")
    writer.init_transactions(30)
    now = time.time()
    # Three hours ago, so that the declared cycle (实时) is overdue; whole hours, so that no window is cut in two.
    hour = now // 3600 * 3600 - 3 * 3600
    journal(writer, 0, 10, hour + 1)
    journal(writer, 10, 500, hour + 2, committed=False)
    journal(writer, 10, 25, hour + 2)
    children.start("monitors", "bianhe.consumers.monitors")
    assert eventually(lambda: through(bus) == 25, SECONDS), children.log("monitors").read_text()
    assert eventually(lambda: "stale" in str(kept(bus, names.ALERTS)), SECONDS)
    children.kill("monitors")
    journal(writer, 25, 30, hour - 3600)
    journal(writer, 30, 60, now)
    assert eventually(lambda: children.revive() == ["monitors"])
    assert eventually(lambda: through(bus) == 60, SECONDS), children.log("monitors").read_text()
    assert list(events(bus, "hour").values()) == [25, 5, 30]
    assert sum(events(bus, "day").values()) == sum(events(bus, "minute").values()) == 60
    assert eventually(lambda: kept(bus, names.ALERTS) == {}, SECONDS)
    target = json.loads(Path(bus.home / "metrics" / "monitors.json").read_text(encoding="utf-8"))
    assert target[0]["labels"] == {"process": "monitors"}


def test_their_position_follows_the_journal_past_the_marker_of_each_transaction(
    bus: PolicyBus, children: Children
) -> None:
    writer = clients.transactional_producer(bus.admin, "monitors-test")
    writer.init_transactions(30)
    children.start("monitors", "bianhe.consumers.monitors")
    for number in range(1000, 1060):
        journal(writer, number, number + 1, time.time())
    # The last marker lies between the two.
    assert eventually(lambda: positions(bus)[0] >= positions(bus)[1] - 1, SECONDS), children.log("monitors").read_text()


def test_told_to_stop_while_no_broker_answers_they_end(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "kafka") as broker, closing(_a_bus(broker, tmp_path)) as bus:
        children = _children_of(bus)
        try:
            children.start("monitors", "bianhe.consumers.monitors")
            with Admin(bus.admin) as admin:
                assert eventually(lambda: "monitor.latest" in admin.topics(), SECONDS)
            broker.kill()
            os.kill(children.pid("monitors"), signal.SIGTERM)
            assert eventually(lambda: children.ended("monitors"), SECONDS)
        finally:
            children.stop()
