"""Grants that end while events flow, whatever the workers do: nothing at or after an edge, in the raw log either."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.log import LogReader
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation.kafka import Revocations, gather, watch
from bianhe.registry.revocation.receipt import verify
from bianhe.registry.revocation.step import Done
from bianhe.schemas import names
from bianhe.schemas.grant import Grant
from bianhe.schemas.records.policy import Department, Granted, Revoked
from bianhe.schemas.records.receipt import Receipt
from support.broker import eventually
from support.policy_bodies import SOURCE, channel, population, writers
from support.policy_bodies import granted as a_grant
from support.policy_bus import PolicyBus
from support.records import person

WORKERS = ("router-0", "router-1")
PARTITIONS = 2
PATIENCE = 60.0
GRANTS = 4


class Town(PolicyBus):
    """A bus with two workers, a third that was never started, and a provider that never pauses."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        super().__init__(broker, folder, f"sqlite:///{folder / 'registry.sqlite'}")
        key = self.secrets / "pseudonym-key"
        key.write_text("00" * 32)
        key.chmod(0o600)
        environment = {
            "BIANHE_HOME": str(folder),
            "BIANHE_KAFKA__BOOTSTRAP": broker.bootstrap,
            "BIANHE_KAFKA__SECRETS": str(self.secrets),
            "BIANHE_DATABASE": "sqlite://",
        }
        self.children = Children(folder / "logs", environment)
        self.stopping = threading.Event()
        self.revocations = Revocations(self.admin, self.engine)

    def publish(self) -> None:
        producer = clients.producer(self.broker.connection())
        values = [person(residence_division="410212"), person(residence_division="410202")]
        for number in count():
            if self.stopping.wait(0.002):
                break
            producer.produce(SOURCE, values[number // 3 % 2], b"entity-%d" % (number % 300))
            producer.poll(0)
        producer.flush(30)

    def ends(self, topic: str) -> dict[int, int]:
        with Admin(self.admin) as admin:
            return admin.end_offsets(topic, "read_uncommitted")

    def grows(self, topic: str) -> bool:
        before = sum(self.ends(topic).values())
        return eventually(lambda: sum(self.ends(topic).values()) > before + 20, 60)

    def revoke(self, number: int, *, withdraw: bool = False) -> Receipt:
        self.queue(Revoked(grant=f"G-2026-{number:04}", ground="purpose-met", decided_by="gongan", withdraw=withdraw))
        *_, done = watch(self.admin, self.engine, f"G-2026-{number:04}", PATIENCE)
        assert isinstance(done, Done)
        return done.receipt


def granted(number: int) -> Granted:
    """The grant of `policy_bodies` under another number."""
    body = a_grant()
    grant = Grant.model_validate({**body.grant.model_dump(), "number": f"G-2026-{number:04}"})
    topic = names.mailbox(grant.department, grant.resource, grant.version, grant.number)
    return body.model_copy(update={"grant": grant, "digest": grant.digest, "topic": topic})


def mailbox(number: int) -> str:
    return granted(number).topic


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home = tmp_path_factory.mktemp("town")
    with EmbeddedBroker(home / "kafka") as broker:
        town = Town(broker, home)
        departments = [Department(code=code, title=code) for code in ("gongan", "renshe")]
        town.decide(writers(3), *departments, population(PARTITIONS), channel())
        town.apply()
        tasks = [
            threading.Thread(target=town.relay.run, args=(town.stopping,)),
            threading.Thread(target=town.revocations.run, args=(town.stopping,)),
            threading.Thread(target=town.publish),
        ]
        for number, worker in enumerate(WORKERS):
            town.children.start(worker, "bianhe.consumers.router", str(number))
        for task in tasks:
            task.start()
        town.queue(*(granted(number) for number in range(1, GRANTS + 1)))
        town.wait_until_numbered()
        town.apply()
        yield town
        town.stopping.set()
        for task in tasks:
            task.join()
        town.revocations.close()
        town.children.stop()
        town.close()


def test_nothing_stands_at_or_after_an_edge_whatever_the_workers_do(town: Town) -> None:
    topics = {number: mailbox(number) for number in (1, 2, 3)}
    assert all(town.grows(topic) for topic in topics.values())
    receipts = {1: town.revoke(1)}
    assert receipts[1].fenced == ("bus.router.2",)
    pids = [town.children.pid(worker) for worker in WORKERS]
    os.kill(pids[0], signal.SIGSTOP)
    receipts[2] = town.revoke(2, withdraw=True)
    assert "bus.router.0" in receipts[2].fenced
    os.kill(pids[0], signal.SIGCONT)
    for worker in WORKERS:
        town.children.kill(worker)
    receipts[3] = town.revoke(3)
    assert receipts[3].fenced == ("bus.router.0", "bus.router.1", "bus.router.2")
    assert eventually(lambda: len(town.children.revive()) == 2)
    assert town.grows(mailbox(GRANTS))
    for number, receipt in receipts.items():
        assert town.ends(topics[number]) == {int(partition): end for partition, end in receipt.edge.items()}
        checks = verify(receipt, read_policy(town.admin), gather(town.admin, receipt))
        assert not [check for check in checks if check.holds is False]
        # Whoever reads uncommitted records finds none either, not even an aborted one.
        for partition, end in receipt.edge.items():
            reader = LogReader(
                town.admin, topics[number], int(partition), group="test", start=end, isolation="read_uncommitted"
            )
            with reader:
                assert reader.read_to_end() == []
