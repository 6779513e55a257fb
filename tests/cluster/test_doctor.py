"""`bianhe doctor` on a real bus: well, and with each of its parts hurt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has types and no __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from pydantic import SecretStr

from bianhe.infra.cli.bus import REGISTRY, Bus
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin
from bianhe.registry.accounts.kafka import give_credentials
from bianhe.registry.policy.kafka import read_policy
from bianhe.schemas.names import ROUTER_ACCOUNT
from support.broker import eventually
from support.command_line import bianhe_here
from support.exchange import exchange

ROUTER = "router-0"
OVERRIDE = "listener.name.client.connections.max.reauth.ms"


class Diagnosis(NamedTuple):
    """What doctor answered: its exit code, the state of each check at its worst, and the facts of what is wrong."""

    code: int
    states: dict[str, str]
    faults: dict[str, str]
    stderr: str


def diagnose(home: Path) -> Diagnosis:
    answer = bianhe_here("doctor", "--output", "json", environment={"BIANHE_HOME": str(home)})
    states: dict[str, str] = {}
    faults: dict[str, str] = {}
    severity = ("ok", "warning", "unknown", "fault")
    for row in json.loads(answer.stdout):
        states[row["check"]] = max(row["state"], states.get(row["check"], "ok"), key=severity.index)
        if row["state"] == "fault":
            faults[row["check"]] = faults.get(row["check"], "") + row["fact"]
            assert row["cause"] or row["cure"], row
    return Diagnosis(answer.returncode, states, faults, answer.stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def bus(home: Path) -> Iterator[Bus]:
    """A bus whose departments all have their passwords."""
    with exchange(home) as running:
        admin = running.bus.broker.connection()
        give_credentials(admin, {code: SecretStr(uuid4().hex) for code in read_policy(admin).departments})
        assert eventually(lambda: diagnose(home).states["router"] == "ok")
        yield running.bus


def test_a_healthy_bus_has_no_fault_and_its_one_replica_is_told(bus: Bus, home: Path) -> None:
    found = diagnose(home)
    assert (found.code, found.faults, found.stderr) == (0, {}, "")
    assert "unknown" not in found.states.values()
    assert found.states["replication"] == "warning"


def test_a_broker_setting_that_was_overridden_is_named(bus: Bus, home: Path) -> None:
    with overridden(bus, OVERRIDE, "3600000"):
        found = diagnose(home)
    assert (found.code, set(found.faults)) == (3, {"broker settings"})
    assert f"{OVERRIDE} is 3600000 on broker 1" in found.faults["broker settings"]


def test_an_access_rule_made_by_hand_is_named(bus: Bus, home: Path) -> None:
    rule = AccessRule("User:shangwu", "TOPIC", "source.population.v1", "READ")
    with rules_added(bus, rule):
        found = diagnose(home)
    assert (found.code, set(found.faults)) == (3, {"sync"})
    assert "READ shangwu on source.population.v1" in found.faults["sync"]


def test_a_door_open_to_everybody_is_tried_and_found(bus: Bus, home: Path) -> None:
    with rules_added(bus, AccessRule("User:*", "TOPIC", "*", "READ")):
        found = diagnose(home)
    assert {"default deny", "sync"} == set(found.faults)


def test_a_secret_that_others_can_read_and_a_password_that_is_wrong_are_named(bus: Bus, home: Path) -> None:
    file = bus.settings.kafka.secrets / ROUTER_ACCOUNT
    password = file.read_text()
    file.chmod(0o640)
    try:
        found = diagnose(home)
        assert str(file) in found.faults["secret files"]
        file.chmod(0o600)
        file.write_text("not the password")
        found = diagnose(home)
    finally:
        file.chmod(0o600)
        file.write_text(password)
    assert (found.code, set(found.faults)) == (3, {"accounts"})
    assert ROUTER_ACCOUNT in found.faults["accounts"]


def test_a_router_that_does_not_run_is_named(bus: Bus, home: Path) -> None:
    bus.children.kill(ROUTER)
    # The group misses a static member after its session has ended.
    assert eventually(lambda: "bus.router.0" in diagnose(home).faults.get("router", ""))
    bus.children.revive()
    assert eventually(lambda: diagnose(home).code == 0, 60)


def test_a_registry_and_a_broker_that_are_down_are_one_fault_each_and_the_rest_is_unknown(bus: Bus, home: Path) -> None:
    bus.children.kill(REGISTRY)
    bus.broker.kill()
    found = diagnose(home)
    assert (found.code, set(found.faults), found.stderr) == (3, {"registry", "brokers"}, "")
    assert "no broker answers" in found.faults["brokers"]
    assert {found.states[check] for check in ("accounts", "broker settings", "policy log", "sync")} == {"unknown"}
    assert found.states["database"] == "ok"


def test_where_there_is_no_bus_nothing_is_examined(tmp_path: Path) -> None:
    found = diagnose(tmp_path)
    assert (found.code, set(found.faults), found.stderr) == (1, {"settings"}, "")
    assert found.states["packages"] == "ok"
    assert not list(tmp_path.iterdir())


def test_settings_that_cannot_be_read_are_a_fault_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "bianhe.toml").write_text("database = [")
    found = diagnose(tmp_path)
    assert (found.code, set(found.faults), found.stderr) == (1, {"settings"}, "")
    assert "end of document" in found.faults["settings"]


@contextmanager
def overridden(bus: Bus, name: str, value: str) -> Iterator[None]:
    """A setting of the broker changed while it runs, as anybody with ALTER_CONFIGS can."""
    admin = clients.admin(bus.broker.connection())

    def alter(operation: AlterConfigOpType) -> None:
        entry = ConfigEntry(name, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result()

    alter(AlterConfigOpType.SET)
    try:
        yield
    finally:
        alter(AlterConfigOpType.DELETE)


@contextmanager
def rules_added(bus: Bus, *rules: AccessRule) -> Iterator[None]:
    with Admin(bus.broker.connection()) as admin:
        admin.create_rules(rules)
        try:
            yield
        finally:
            admin.delete_rules(rules)
