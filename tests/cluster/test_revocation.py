"""A revocation on a real broker: acknowledged, effective at a last offset, closed; resumed wherever it was cut off."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation.kafka import StillRevoking, carry_out
from bianhe.registry.revocation.step import Close, Closed, MarkEffective, Step, WaitForEnds, WaitForWriters
from bianhe.schemas.names import ROUTER_ACCOUNT, ROUTER_STATE
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.state import Acknowledgement, worker_key, worker_partition
from support.attempts import ANSWERED, TOPIC_DENIED, attempt_read
from support.policies import OPEN, OPEN_CHANNEL, POPULATION, WRITERS, department, granted, mailbox, revoked
from support.policy_bus import PolicyBus

PATIENCE = 2.0


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyBus]:
    home = tmp_path_factory.mktemp("revocation")
    with EmbeddedBroker(home / "kafka") as broker:
        city = PolicyBus(broker, home, f"sqlite:///{home / 'registry.sqlite'}")
        city.decide(WRITERS, department("gongan"), department("tongji"), department("renshe"), POPULATION, OPEN_CHANNEL)
        stop = threading.Event()
        relaying = threading.Thread(target=city.relay.run, args=(stop,))
        relaying.start()
        yield city
        stop.set()
        relaying.join()
        city.close()


class Writer:
    """A worker of the router as far as a revocation sees it: its own transactional id, on its own account."""

    def __init__(self, bus: PolicyBus, number: int) -> None:
        self._id = WRITERS.transactional_ids[number]
        self._producer = clients.transactional_producer(bus.component(ROUTER_ACCOUNT), self._id)
        self._producer.init_transactions(30)

    def begin(self, topic: str, partition: int) -> None:
        """Leave a transaction open with one delivery in it."""
        self._producer.begin_transaction()
        self._producer.produce(topic, b"value", key=b"key", partition=partition)
        self._producer.flush(30)

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def acknowledge(self, version: int) -> None:
        self._producer.begin_transaction()
        value = Acknowledgement(version).encode()
        key = worker_key(self._id)
        self._producer.produce(ROUTER_STATE, value, key=key.encode(), partition=worker_partition(self._id))
        self._producer.commit_transaction(30)


def open_grant(bus: PolicyBus, number: int, code: str, topic: str | None = None) -> str:
    bus.queue(granted(number, code, topic))
    bus.wait_until_numbered()
    bus.apply()
    return topic or mailbox(number, code)


def revoke(bus: PolicyBus, number: int) -> Generator[Step, None, None]:
    return carry_out(bus.admin, bus.engine, f"G-2026-{number:04}", PATIENCE)


def test_a_mailbox_closes_at_its_last_offset_once_every_writer_has_acknowledged(bus: PolicyBus) -> None:
    topic, reader = open_grant(bus, 1, "tongji"), bus.log_in("tongji")
    first, second = Writer(bus, 0), Writer(bus, 1)
    first.begin(topic, 1)
    first.commit()
    bus.queue(revoked(1))
    version = bus.wait_until_numbered()
    first.acknowledge(version)
    with pytest.raises(StillRevoking) as waiting:
        list(revoke(bus, 1))
    assert waiting.value.cause == "writer bus.router.1 has not acknowledged"
    assert attempt_read(reader, topic, "tongji.main") == ANSWERED
    second.acknowledge(version)
    taken = [step for step in revoke(bus, 1) if isinstance(step, MarkEffective | Close | Closed)]
    # One record and the marker of its transaction lie before the edge of partition 1.
    assert [step.edge for step in taken] == [{0: 0, 1: 2}] * 3
    assert attempt_read(reader, topic, "tongji.main") == TOPIC_DENIED
    assert not bus.plan().steps
    assert list(revoke(bus, 1)) == [Closed({0: 0, 1: 2}, 1)]


def test_the_edge_is_not_taken_while_a_transaction_is_open(bus: PolicyBus) -> None:
    topic = open_grant(bus, 2, "tongji")
    writers = Writer(bus, 0), Writer(bus, 1)
    bus.queue(revoked(2))
    version = bus.wait_until_numbered()
    for writer in writers:
        writer.acknowledge(version)
    writers[0].begin(topic, 0)
    with pytest.raises(StillRevoking, match="still being revoked"):
        assert isinstance(list(revoke(bus, 2))[-1], WaitForEnds)
    writers[0].commit()
    assert list(revoke(bus, 2))[-1] == Closed({0: 2, 1: 0}, 1)


def test_cut_off_after_each_step_it_goes_on_there(bus: PolicyBus) -> None:
    topic = open_grant(bus, 3, "tongji")
    bus.queue(revoked(3))
    version = bus.wait_until_numbered()
    assert isinstance(next(revoke(bus, 3)), WaitForWriters)
    for number in range(2):
        Writer(bus, number).acknowledge(version)
    assert isinstance(next(revoke(bus, 3)), MarkEffective)
    seen: list[Step] = []
    while not seen or not isinstance(seen[-1], Closed):
        running = revoke(bus, 3)
        seen.append(next(running))
        # The generator takes the step and is then abandoned before the next.
        next(running, None)
        running.close()
    assert not any(rule.name == topic for rule in bus.rules())


def test_an_open_channel_closes_at_once_for_one_reader_and_stays_for_others(bus: PolicyBus) -> None:
    open_grant(bus, 4, "tongji", OPEN)
    open_grant(bus, 5, "renshe", OPEN)
    leaving, staying = bus.log_in("tongji"), bus.log_in("renshe")
    bus.queue(revoked(4))
    assert list(revoke(bus, 4))[-1] == Closed({}, 1)
    assert read_policy(bus.admin).grants["G-2026-0004"].state is GrantState.EFFECTIVE
    assert attempt_read(leaving, OPEN, "tongji.main") == TOPIC_DENIED
    assert attempt_read(staying, OPEN, "renshe.main") == ANSWERED
