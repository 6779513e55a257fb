"""A bus whose registry and two workers run while a provider never pauses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

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


class Town(PolicyBus):
    """The bus, what happens to it, and what its logs say."""

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
        self.published = 0

    def publish(self) -> None:
        producer = clients.producer(self.broker.connection())
        values = [person(residence_division="410212"), person(residence_division="410202")]
        for number in count():
            if self.stopping.wait(0.002):
                break
            producer.produce(SOURCE, values[number // 3 % 2], b"entity-%d" % (number % 300))
            producer.poll(0)
            self.published = number
        producer.flush(30)

    def grant(self, *bodies: Granted) -> None:
        """Open these mailboxes."""
        self.queue(*bodies)
        self.wait_until_numbered()
        self.apply()

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

    def check(self, topic: str, receipt: Receipt) -> None:
        """The receipt holds, and nothing lies at or after its edge, not even what was aborted."""
        assert self.ends(topic) == {int(partition): end for partition, end in receipt.edge.items()}
        checks = verify(receipt, read_policy(self.admin), gather(self.admin, receipt))
        assert not [check for check in checks if check.holds is False]
        for partition, end in receipt.edge.items():
            reader = LogReader(self.admin, topic, int(partition), group="test", start=end, isolation="read_uncommitted")
            with reader:
                assert reader.read_to_end() == []


def granted(number: int, rule: str = "", until: str = "2027-12-31") -> Granted:
    """The grant of `policy_bodies` under another number."""
    body = a_grant(rule, until=until)
    grant = Grant.model_validate({**body.grant.model_dump(), "number": f"G-2026-{number:04}"})
    topic = names.mailbox(grant.department, grant.resource, grant.version, grant.number)
    return body.model_copy(update={"grant": grant, "digest": grant.digest, "topic": topic})


def mailbox(number: int) -> str:
    return granted(number).topic


@contextmanager
def a_town(home: Path, listed: int = len(WORKERS)) -> Iterator[Town]:
    """Start it with so many writers on the policy log; those beyond the two workers never start."""
    with EmbeddedBroker(home / "kafka") as broker:
        town = Town(broker, home)
        departments = [Department(code=code, title=code) for code in ("gongan", "renshe")]
        town.decide(writers(listed), *departments, population(PARTITIONS), channel())
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
        yield town
        town.stopping.set()
        for task in tasks:
            task.join()
        town.revocations.close()
        town.children.stop()
        town.close()
