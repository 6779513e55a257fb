"""The stage of the story: catalog, applications, cluster and accounts of a fresh bus, by the registry's own acts."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.demo import recount, sharing
from bianhe.infra.demo.files import Papers
from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import Settings, read_secret
from bianhe.infra.sql import engine
from bianhe.registry.accounts.kafka import rotate
from bianhe.registry.catalog.entry import Catalog
from bianhe.registry.catalog.sql import import_catalog
from bianhe.registry.policy.sql import pending
from bianhe.registry.sharing import sql
from bianhe.registry.sharing.grant import GrantRow
from bianhe.registry.sql import transaction
from bianhe.registry.sync import kafka as sync
from bianhe.registry.sync.cluster import Actual
from bianhe.schemas.contract import shipped
from bianhe.schemas.errors import Transient
from bianhe.schemas.grant import CITY_TIME

RELAY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05


class RelaySilent(Transient):
    """What was decided does not come onto the policy log."""


class RunningBus(Protocol):
    """What the story needs of a bus on this machine."""

    broker: EmbeddedBroker
    children: Children

    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True)
class Stage:
    """A bus with its catalog in force, its applications answered and its accounts issued."""

    bus: RunningBus
    papers: Papers
    database: Engine
    catalog: Catalog
    answers: sharing.Answers
    expected: tuple[recount.Answer, ...]
    """The same grants as the recount reads them from the file."""
    key_secrets: Mapping[str, bytes]

    @property
    def admin(self) -> Connection:
        return self.bus.broker.connection()

    @cached_property
    def pseudonym_key(self) -> bytes:
        return bytes.fromhex(read_secret(self.bus.settings.kafka.secrets / "pseudonym-key").get_secret_value())

    @property
    def subscribers(self) -> tuple[str, ...]:
        """The departments with a grant, in the order of the catalog."""
        holders = {row.grant.department for row in self.answers.grants}
        return tuple(department.code for department in self.catalog.departments if department.code in holders)

    def grants_of(self, department: str) -> list[GrantRow]:
        return [row for row in self.answers.grants if row.grant.department == department]

    def grant_on(self, department: str, resource: str) -> GrantRow:
        """The grant of a department on a resource, of which the sample has one at most."""
        return next(row for row in self.grants_of(department) if row.grant.resource == resource)

    def connection(self, department: str) -> Connection:
        """The department's own account."""
        return Connection(self.bus.broker.bootstrap, department, read_secret(self.papers.password(department)))


def sample(name: str) -> str:
    """A text that ships with the demo."""
    return (resources.files("bianhe.infra.demo") / name).read_text(encoding="utf-8")


def set_up(bus: RunningBus, papers: Papers, told: Callable[[str], None]) -> Stage:
    """Import the catalog, replay the applications, bring the cluster up to it, issue accounts and profiles."""
    database = engine(bus.settings.database)
    with resources.as_file(resources.files("bianhe.infra.demo") / "catalog.toml") as file:
        catalog = import_catalog(database, Path(file), bus.settings.routers, clock.now()).catalog
    items = sum(len(resource.items) for resource in catalog.resources)
    told(f"catalog: {len(catalog.resources)} resources, {items} items, {len(catalog.departments)} departments")

    answers, expected = _replay(database)
    count = f"{len(answers.grants)} granted, {len(answers.refusals)} refused, {len(answers.withheld)} not taken"
    told(f"applications: {count} (withheld item)")
    for row in answers.grants:
        papers.write_letter(row.grant.number, sql.letter(database, row.grant.number))
    for refused in answers.refusals:
        papers.write_letter(refused.number, sql.letter(database, refused.number))
    await_relay(database, bus)

    connection = bus.broker.connection()
    sync.apply(connection, sync.plan_cluster(connection).steps, bus.settings.kafka.secrets)
    _issue_accounts(bus, papers, database, [department.code for department in catalog.departments])
    key_secrets = {resource.code: papers.make_key_secret(resource.code) for resource in catalog.resources}
    told(_in_sync(sync.plan_cluster(connection).differs, sync.observe(connection)))
    return Stage(bus, papers, database, catalog, answers, tuple(expected), key_secrets)


def await_relay(database: Engine, bus: RunningBus) -> None:
    """Wait until everything decided stands on the policy log; raises RelaySilent."""
    deadline = time.monotonic() + RELAY_SECONDS
    while True:
        with transaction(database) as connection:
            waiting = len(pending(connection))
        if not waiting:
            return
        if time.monotonic() > deadline:
            log = bus.children.log("registry")
            raise RelaySilent(f"{waiting} decisions wait for the relay", cure=f"read {log}")
        time.sleep(_POLL_SECONDS)


def recount_facts(stage: Stage, resource: str) -> tuple[Mapping[str, Any], str, tuple[recount.Answer, ...]]:
    """What the recount starts from: the resource's table in the catalog file, its contract, the decisions."""
    catalog = tomllib.loads(sample("catalog.toml"))
    table = next(table for table in catalog["resource"] if table["code"] == resource)
    return table, shipped(resource, table["version"]), stage.expected


def _issue_accounts(bus: RunningBus, papers: Papers, database: Engine, codes: Collection[str]) -> None:
    """Give every department a password of its own, and a profile."""
    rotate(bus.broker.connection(), database, {code: papers.password(code) for code in codes})
    for code in codes:
        papers.write_profile(code, bus.settings)


def _replay(database: Engine) -> tuple[sharing.Answers, list[recount.Answer]]:
    text = sample("sharing.toml")
    plan = sharing.read_plan(text)
    now = clock.now()
    # The sample outlives the term that it names.
    until = max(plan.until, date(now.astimezone(CITY_TIME).year + 1, 12, 31))
    answers = sharing.replay(database, plan.model_copy(update={"until": until}), now)
    numbers = [(row.grant.number, row.grant.department, row.grant.resource) for row in answers.grants]
    return answers, recount.answers(tomllib.loads(text), tomllib.loads(sample("catalog.toml")), numbers)


def _in_sync(differs: bool, cluster: Actual) -> str:
    state = "cluster differs from the catalog" if differs else "cluster in sync"
    counts = f"{len(cluster.topics)} topics, {len(cluster.rules)} access rules, {len(cluster.accounts)} accounts"
    return f"{state}: {counts}"
