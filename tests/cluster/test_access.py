"""Each kind of principal tries every operation of Kafka on everything; the table says what is allowed, no more."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import raw
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.session import Session
from bianhe.registry.accounts.kafka import lent
from bianhe.schemas import names
from bianhe.schemas.records.policy import OpenChannel, Resource
from support.broker import eventually
from support.kafka_messages import ask, offered
from support.operations import (
    UNTRIED,
    Attempt,
    Means,
    Topic,
    on_account,
    on_cluster,
    on_group,
    on_topic,
    on_transactional_id,
)
from support.policies import OPEN, OPEN_CHANNEL, POPULATION, SOURCE, WRITERS, department, granted, mailbox
from support.policy_bus import PolicyBus

TABLE: Final = Path(__file__).parents[1] / "vectors" / "access" / "operations.toml"
LEGAL_ENTITY: Final = Resource(
    code="legal-entity", provider="shichang", version=1, partitions=2, erasure_days=30, schema_id=201, contract="{}"
)
LEGAL_OPEN: Final = names.open_topic("legal-entity", 1, 1)
LEGAL_CHANNEL: Final = OpenChannel(
    resource="legal-entity", version=1, revision=1, topic=LEGAL_OPEN, schema_id=202, view_schema="{}"
)

ACCOUNTS: Final = {
    "provider": "gongan",
    "subscriber": "renshe",
    "stranger": "shangwu",
    "router": names.ROUTER_ACCOUNT,
    "relay": names.RELAY_ACCOUNT,
    "monitor": names.MONITOR_ACCOUNT,
    "break-glass": names.BREAK_GLASS_ACCOUNT,
    "checker": names.CHECKER_ACCOUNT,
}
TOPICS: Final = {
    "source": SOURCE,
    "another's source": names.source_topic("legal-entity", 1),
    "open channel": OPEN,
    "another's open channel": LEGAL_OPEN,
    "mailbox": mailbox(2, "renshe"),
    "another's mailbox": mailbox(3, "tongji"),
    "policy log": names.POLICY,
    "journal": names.JOURNAL,
    "router state": names.ROUTER_STATE,
    "quarantine": names.QUARANTINE,
    "Kafka's own topic": "__consumer_offsets",
}
GROUPS: Final = {
    "provider's group": "gongan.main",
    "subscriber's group": "renshe.main",
    "subscriber's group without a client": "renshe.other",
    "stranger's group": "shangwu.main",
    "another's group": "tongji.main",
    "router's group": names.ROUTER_GROUP,
    "relay's group": names.RELAY_ACCOUNT,
    "monitor's group": names.MONITOR_GROUP,
    "break-glass's group": names.BREAK_GLASS_ACCOUNT,
}
TRANSACTIONAL_IDS: Final = {
    "router's transactional id": names.router_transactional_id(0),
    "relay's transactional id": names.RELAY_TRANSACTIONAL_ID,
    "department's transactional id": "renshe.main",
}
OWN: Final = {
    "provider": ("source", "provider's group", "department's transactional id"),
    "subscriber": ("open channel", "subscriber's group", "department's transactional id"),
    "stranger": ("open channel", "stranger's group", "department's transactional id"),
    "router": ("source", "router's group", "router's transactional id"),
    "relay": ("policy log", "relay's group", "relay's transactional id"),
    "monitor": ("journal", "monitor's group", "department's transactional id"),
    "break-glass": ("policy log", "break-glass's group", "relay's transactional id"),
    "checker": ("journal", "router's group", "department's transactional id"),
}
"""What each has of its own, or would have."""
NEVER: Final = {f"{verb}DelegationToken" for verb in ("Create", "Renew", "Expire", "Describe")}
"""Refused to everybody, since no broker has a key for them."""
_LAST: Final = ("OffsetCommit", "TxnOffsetCommit", "ListGroups", "DeleteRecords", "DeleteGroups", "DeleteTopics")
"""These change what others say, so they are tried after them, in this order."""
Allowed = dict[str, set[str]]
"""By operation, the things on which it got past the question of who asks."""


@dataclass(frozen=True)
class Exposed:
    """A bus that everybody may try; `topics` are those of `TOPICS` with their ids."""

    bus: PolicyBus
    topics: Mapping[str, Topic]
    versions: dict[str, int]

    def connection(self, principal: str) -> Connection:
        account = ACCOUNTS[principal]
        return self.bus.component(account) if account.startswith("bus-") else self.bus.log_in(account)

    def own(self, principal: str) -> Means:
        topic, group, transactional_id = OWN[principal]
        return Means(self.topics[topic], GROUPS[group], TRANSACTIONAL_IDS[transactional_id])

    def tried(self, principal: str, connection: Connection) -> Allowed:
        """What this principal may do, of everything on everything."""
        allowed: Allowed = defaultdict(set)
        with Session(connection) as session:
            for thing, attempt in self.attempts(principal):
                if attempt.allowed(session, self.versions):
                    allowed[attempt.operation].add(thing)
        return allowed

    def attempts(self, principal: str) -> list[tuple[str, Attempt]]:
        own, account = self.own(principal), ACCOUNTS[principal]
        attempts = [
            *((thing, attempt) for thing, topic in self.topics.items() for attempt in on_topic(topic, own)),
            *((thing, attempt) for thing, group in GROUPS.items() for attempt in on_group(group, own)),
            *((thing, attempt) for thing, id in TRANSACTIONAL_IDS.items() for attempt in on_transactional_id(id, own)),
            *(("own account", attempt) for attempt in on_account(account)),
            *(("another's account", attempt) for attempt in on_account("tongji")),
            *(("cluster", attempt) for attempt in on_cluster()),
        ]
        return sorted(attempts, key=lambda each: _turn(each[1].operation))


def _turn(operation: str) -> int:
    return _LAST.index(operation) + 1 if operation in _LAST else 0


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    home = tmp_path_factory.mktemp("access")
    with EmbeddedBroker(home / "kafka") as broker:
        bus = PolicyBus(broker, home, f"sqlite:///{home / 'registry.sqlite'}")
        bus.decide(
            WRITERS,
            *(department(code) for code in ("gongan", "shichang", "renshe", "tongji", "shangwu")),
            POPULATION,
            LEGAL_ENTITY,
            OPEN_CHANNEL,
            LEGAL_CHANNEL,
            granted(1, "renshe", OPEN),
            granted(2, "renshe"),
            granted(3, "tongji"),
        )
        bus.apply()
        with Session(bus.admin) as session:
            versions = offered(session)
            known = ask(session, "Metadata", versions["Metadata"], {"Topics": None})["Topics"]
            ids = {each["Name"]: each["TopicId"] for each in known}
            topics = {thing: Topic(name, ids[name]) for thing, name in TOPICS.items()}
        yield Exposed(bus, topics, versions)
        bus.close()


def table() -> dict[str, Allowed]:
    """Per principal the operations that it may use, and on what."""
    allowed: dict[str, Allowed] = {}
    for principal, rows in tomllib.loads(TABLE.read_text("utf-8")).items():
        allowed[principal] = defaultdict(set)
        for row in rows:
            for operation in row["operations"]:
                allowed[principal][operation].update(row["on"])
    return allowed


def test_every_operation_that_the_broker_offers_is_tried_or_left_out_by_name(exposed: Exposed) -> None:
    tried = {attempt.operation for _, attempt in exposed.attempts("stranger")}
    assert not tried & UNTRIED.keys()
    assert tried | UNTRIED.keys() == exposed.versions.keys()


def test_each_principal_may_do_what_the_table_says_and_nothing_else(exposed: Exposed) -> None:
    connections = {principal: exposed.connection(principal) for principal in ACCOUNTS if principal != "checker"}
    with ThreadPoolExecutor(len(ACCOUNTS)) as pool:
        found = dict(zip(connections, pool.map(exposed.tried, connections, connections.values()), strict=True))
    # After the others, whose groups it sees.
    with lent(exposed.bus.admin, names.CHECKER_ACCOUNT) as connection:
        found["checker"] = exposed.tried("checker", connection)
    assert found == table()
    assert eventually(lambda: names.CHECKER_ACCOUNT not in raw.accounts(exposed.bus.admin))


def test_an_administrator_gets_past_every_attempt_so_no_attempt_is_refused_for_itself(exposed: Exposed) -> None:
    allowed = exposed.tried("stranger", exposed.bus.admin)
    assert UNTRIED.keys() | allowed.keys() == exposed.versions.keys() - NEVER
