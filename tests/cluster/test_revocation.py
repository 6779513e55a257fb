"""A revocation on a real broker: acknowledged, effective at a last offset, closed; resumed wherever it was cut off."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from functools import partial

import pytest
from confluent_kafka import KafkaException

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients, transactions
from bianhe.infra.kafka.admin import Admin
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation import kafka
from bianhe.registry.revocation.kafka import StillRevoking, _View, carry_out, gather
from bianhe.registry.revocation.receipt import verify
from bianhe.registry.revocation.step import (
    Close,
    Done,
    Fence,
    Finish,
    MarkEffective,
    Step,
    WaitForLog,
    WaitForWriters,
)
from bianhe.schemas.names import ROUTER_ACCOUNT, ROUTER_STATE
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.receipt import Receipt
from bianhe.schemas.records.state import Acknowledgement, worker_key, worker_partition
from support.attempts import ANSWERED, TOPIC_DENIED, attempt_read
from support.hanging import leave_open
from support.policies import OPEN, OPEN_CHANNEL, POPULATION, WRITERS, department, granted, mailbox, revoked
from support.policy_bus import PolicyBus

PATIENCE = 10.0


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


def revoke(bus: PolicyBus, number: int, patience: float = PATIENCE) -> Generator[Step, None, None]:
    return carry_out(bus.admin, bus.engine, f"G-2026-{number:04}", patience)


def receipt_of(bus: PolicyBus, number: int) -> Receipt:
    """Carry a revocation out to its end, and hold its receipt against Kafka and the policy log."""
    *_, done = revoke(bus, number)
    assert isinstance(done, Done)
    checks = verify(done.receipt, read_policy(bus.admin), gather(bus.admin, done.receipt))
    assert not [check for check in checks if check.holds is False]
    return done.receipt


def test_a_mailbox_closes_at_its_last_offset_once_every_writer_has_acknowledged(bus: PolicyBus) -> None:
    topic, reader = open_grant(bus, 1, "tongji"), bus.log_in("tongji")
    first, second = Writer(bus, 0), Writer(bus, 1)
    first.begin(topic, 1)
    first.commit()
    bus.queue(revoked(1))
    version = bus.wait_until_numbered()
    first.acknowledge(version)
    with pytest.raises(StillRevoking) as waiting:
        list(revoke(bus, 1, patience=0.5))
    assert waiting.value.cause == "writer bus.router.1 has not acknowledged"
    assert attempt_read(reader, topic, "tongji.main") == ANSWERED
    second.acknowledge(version)
    receipt = receipt_of(bus, 1)
    # One record and the marker of its transaction lie before the edge of partition 1.
    assert (receipt.edge, receipt.fenced, receipt.brokers) == ({"0": 0, "1": 2}, (), (1,))
    assert attempt_read(reader, topic, "tongji.main") == TOPIC_DENIED
    assert not bus.plan().steps
    assert list(revoke(bus, 1)) == [Done(receipt)]


def test_a_writer_that_hangs_in_a_transaction_is_fenced_and_what_was_delivered_withdrawn(bus: PolicyBus) -> None:
    topic = open_grant(bus, 2, "tongji")
    hung, well = Writer(bus, 0), Writer(bus, 1)
    well.begin(topic, 1)
    well.commit()
    hung.begin(topic, 0)
    bus.queue(revoked(2).model_copy(update={"withdraw": True}))
    well.acknowledge(bus.wait_until_numbered())
    receipt = receipt_of(bus, 2)
    # The fence aborts what was open; the marker of that is the last of the partition.
    assert (receipt.edge, receipt.fenced, receipt.withdrawn) == ({"0": 2, "1": 2}, ("bus.router.0",), True)
    with pytest.raises(KafkaException, match="fenced"):
        hung.commit()
    with Admin(bus.admin) as admin:
        assert admin.start_offsets(topic) == admin.end_offsets(topic, "read_uncommitted") == {0: 2, 1: 2}


def test_a_transaction_that_no_coordinator_knows_keeps_no_edge_away(
    bus: PolicyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_HANGING_SECONDS", 0.0)
    monkeypatch.setattr(transactions, "hanging", partial(transactions.hanging, silent=0.0))
    topic = open_grant(bus, 7, "tongji")
    leave_open(bus.broker, topic)
    bus.queue(revoked(7))
    version = bus.wait_until_numbered()
    for number in range(2):
        Writer(bus, number).acknowledge(version)
    # The record and the marker that ends it.
    assert receipt_of(bus, 7).edge == {"0": 2, "1": 0}


def test_cut_off_after_each_step_it_goes_on_there_with_no_worker_at_all(bus: PolicyBus) -> None:
    topic = open_grant(bus, 3, "tongji")
    bus.queue(revoked(3))
    bus.wait_until_numbered()
    seen: list[Step] = []
    while not seen or not isinstance(seen[-1], Done):
        running = revoke(bus, 3)
        seen.append(next(step for step in running if not isinstance(step, WaitForWriters | WaitForLog)))
        # The generator takes the step and is then abandoned before the next.
        next(running, None)
        running.close()
    assert {type(step) for step in seen} == {Fence, MarkEffective, Close, Finish, Done}
    assert seen[-1].receipt.fenced == WRITERS.transactional_ids
    assert not any(rule.name == topic for rule in bus.rules())


def test_an_open_channel_closes_for_one_reader_when_no_fetch_can_wait_and_stays_for_others(
    bus: PolicyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _View.idle_millis
    monkeypatch.setattr(_View, "idle_millis", lambda seen: whole(seen) // 100)
    open_grant(bus, 4, "tongji", OPEN)
    open_grant(bus, 5, "renshe", OPEN)
    leaving, staying = bus.log_in("tongji"), bus.log_in("renshe")
    bus.queue(revoked(4))
    receipt = receipt_of(bus, 4)
    assert (receipt.edge, receipt.waited_millis) == ({}, 600)
    assert read_policy(bus.admin).grants["G-2026-0004"].state is GrantState.CLOSED
    assert attempt_read(leaving, OPEN, "tongji.main") == TOPIC_DENIED
    assert attempt_read(staying, OPEN, "renshe.main") == ANSWERED
