"""A bus without a router: a broker of its own, a registry database, a relay, and sync."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import KafkaSettings, read_secret
from bianhe.infra.sql import engine
from bianhe.registry.accounts import kafka as accounts
from bianhe.registry.migrations import upgrade
from bianhe.registry.policy import sql
from bianhe.registry.policy.kafka import Relay, read_policy, signing_key
from bianhe.registry.sql import deciding, transaction
from bianhe.registry.sync import kafka as sync
from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.plan import Plan
from bianhe.schemas.names import RELAY_ACCOUNT
from bianhe.schemas.records.policy import Body
from bianhe.schemas.signatures import Role, SigningKey
from support.broker import eventually
from support.policies import AT


class PolicyBus:
    """Decisions go into the outbox, the relay numbers them, sync follows."""

    def __init__(self, broker: EmbeddedBroker, home: Path, database_url: str) -> None:
        self.broker = broker
        self.home = home
        self.secrets = home / "kafka" / "secrets"
        self.database_url = database_url
        self.engine: Engine = engine(database_url)
        upgrade(self.engine)
        sync.prepare(broker.connection(), self.secrets)
        self.admin = broker.connection()
        self.relay = self.another_relay()

    def close(self) -> None:
        self.relay.close()
        self.engine.dispose()

    @property
    def signing_key(self) -> SigningKey:
        """The one that signs for the relay now."""
        return signing_key(self.secrets, Role.RELAY)

    def component(self, account: str) -> Connection:
        return component(KafkaSettings(bootstrap=self.broker.bootstrap, secrets=self.secrets), account)

    def another_relay(self) -> Relay:
        return Relay(self.component(RELAY_ACCOUNT), self.engine, self.signing_key)

    def queue(self, *bodies: Body) -> None:
        with deciding(self.engine) as database:
            sql.append(database, bodies, AT)

    def decide(self, *bodies: Body) -> int:
        """Put decisions on the policy log; returns its version."""
        self.queue(*bodies)
        return self.relay.drain()

    def wait_until_numbered(self) -> int:
        """Wait for a relay that runs elsewhere; returns the policy version."""
        with transaction(self.engine) as database:
            waiting = sql.pending(database)
        if waiting:
            assert eventually(lambda: self._number_of(waiting[-1].id) is not None), "no relay runs"
        return read_policy(self.admin).version

    def _number_of(self, id: str) -> int | None:
        with transaction(self.engine) as database:
            return sql.number_of(database, id)

    def rules(self) -> frozenset[AccessRule]:
        return sync.observe(self.admin).rules

    def plan(self) -> Plan:
        return sync.plan_cluster(self.admin)

    def apply(self) -> Plan:
        """Make the cluster what it should be; returns what differed."""
        found = self.plan()
        sync.apply(self.admin, found.steps, self.secrets)
        return found

    def log_in(self, code: str) -> Connection:
        """Give a department a new password and return its connection."""
        accounts.rotate(self.admin, self.engine, {code: self.secrets / code})
        return self.log_in_as(code)

    def log_in_as(self, code: str) -> Connection:
        """The connection of a department with the password that it has."""
        return Connection(self.broker.bootstrap, code, read_secret(self.secrets / code))
