"""The cluster follows the policy log, on a real broker: nothing more, nothing less, and the broker itself refuses."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from typer.testing import CliRunner

from bianhe.infra.cli.commands import app
from bianhe.infra.cli.console import Exit
from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import raw
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import LoginRefused, RefusedByBroker
from bianhe.infra.kafka.session import Session, check_login
from bianhe.infra.settings import write_secret
from bianhe.infra.sql import engine
from bianhe.registry.accounts import kafka as accounts
from bianhe.registry.accounts.standing import UnknownAccount
from bianhe.registry.sql import DatabaseUnusable
from bianhe.registry.sync import cluster
from bianhe.registry.sync import kafka as sync
from bianhe.registry.sync.plan import AddRule, RemoveRule, Sign, Step, line
from support.attempts import ANSWERED, GROUP_DENIED, TOPIC_DENIED, attempt_read, attempt_write
from support.broker import eventually
from support.command_line import bianhe, command
from support.kafka_messages import ask, error_codes
from support.policies import (
    OPEN,
    OPEN_CHANNEL,
    POPULATION,
    SOURCE,
    WRITERS,
    department,
    effective,
    granted,
    mailbox,
    revoked,
)
from support.policy_bus import PolicyBus

TONGJI = mailbox(2, "tongji")


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[PolicyBus]:
    home = tmp_path_factory.mktemp("sync")
    with EmbeddedBroker(home / "kafka") as broker:
        city = PolicyBus(broker, home, database_url)
        city.decide(
            WRITERS,
            *(department(code) for code in ("gongan", "renshe", "tongji", "shangwu")),
            POPULATION,
            OPEN_CHANNEL,
            granted(1, "renshe", OPEN),
            granted(2, "tongji"),
        )
        city.apply()
        yield city
        city.close()


def admitted(connection: Connection) -> bool:
    try:
        check_login(connection)
    except LoginRefused:
        return False
    return True


def test_applied_once_there_is_nothing_to_apply(bus: PolicyBus) -> None:
    for code in ("gongan", "renshe", "tongji", "shangwu"):
        bus.log_in(code)
    bus.apply()
    found = bus.plan()
    assert found.lines == ()
    assert not found.differs


def test_each_department_is_refused_by_the_broker_what_no_grant_carries(bus: PolicyBus) -> None:
    provider, reader, other, stranger = (bus.log_in(code) for code in ("gongan", "renshe", "tongji", "shangwu"))
    assert attempt_write(provider, SOURCE) == ANSWERED
    assert attempt_read(reader, OPEN, "renshe.main") == ANSWERED
    assert attempt_read(other, TONGJI, "tongji.main") == ANSWERED
    assert attempt_write(reader, SOURCE) == TOPIC_DENIED
    assert attempt_write(reader, OPEN) == TOPIC_DENIED
    assert attempt_write(other, TONGJI) == TOPIC_DENIED
    assert attempt_read(provider, SOURCE, "gongan.main") == TOPIC_DENIED
    assert attempt_read(reader, SOURCE, "renshe.main") == TOPIC_DENIED
    assert attempt_read(reader, TONGJI, "renshe.main") == TOPIC_DENIED
    assert attempt_read(other, OPEN, "tongji.main") == TOPIC_DENIED
    assert attempt_read(stranger, OPEN, "shangwu.main") == TOPIC_DENIED
    assert attempt_read(stranger, "bus.policy", "shangwu.main") == TOPIC_DENIED
    assert attempt_read(reader, OPEN, "tongji.main") == GROUP_DENIED
    assert attempt_read(reader, OPEN, "renshe.other") == GROUP_DENIED


def test_the_relay_may_do_nothing_but_the_policy_log(bus: PolicyBus) -> None:
    relay = bus.component("bus-relay")
    assert attempt_read(relay, SOURCE, "bus-relay") == TOPIC_DENIED
    assert attempt_write(relay, "bus.journal") == TOPIC_DENIED
    with pytest.raises(RefusedByBroker):
        raw.access_rules(relay)


def test_more_steps_are_taken_than_a_broker_takes_in_one_request(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """A controller refuses more than 10,000 records in one."""
    rules = [cluster.AccessRule("foreign", "READ", "TOPIC", f"foreign.{number}") for number in range(10_001)]
    told: list[Step] = []
    opening, closing = [AddRule(rule, "many") for rule in rules], [RemoveRule(rule, "many") for rule in rules]
    sync.apply(broker.connection(), [*opening, *closing], tmp_path, told.append)
    assert told == [*opening, *closing]
    known = sync.observe(broker.connection()).rules
    assert not any(rule.account == "foreign" for rule in known)


def test_an_access_rule_added_by_hand_is_found_and_closed(bus: PolicyBus) -> None:
    stranger = bus.log_in("shangwu")
    with Admin(bus.admin) as admin:
        admin.create_rules([AccessRule("User:shangwu", "TOPIC", TONGJI, "READ")])
    assert eventually(lambda: attempt_read(stranger, TONGJI, "shangwu.main") == ANSWERED)
    found = bus.plan()
    assert [line(step).text for step in found.steps] == [f"READ shangwu on {TONGJI}"]
    assert isinstance(found.steps[0], RemoveRule)
    bus.apply()
    assert eventually(lambda: attempt_read(stranger, TONGJI, "shangwu.main") == TOPIC_DENIED)
    assert not bus.plan().differs


def test_foreign_topics_accounts_and_rules_are_left_alone_and_listed(bus: PolicyBus) -> None:
    with Admin(bus.admin) as admin:
        admin.create_topics({"weather": Topic(1)})
        admin.set_passwords({"weather": SecretStr("for this test alone")})
        admin.create_rules([AccessRule("User:weather", "TOPIC", "weather", "READ")])
    assert [(entry.sign, entry.kind, entry.text) for entry in bus.plan().foreign] == [
        (Sign.FOREIGN, "topic", "weather"),
        (Sign.FOREIGN, "account", "weather"),
        (Sign.FOREIGN, "allow", "READ weather on weather"),
    ]
    assert bus.apply().steps == ()
    check_login(Connection(bus.broker.bootstrap, "weather", SecretStr("for this test alone")))


def test_settings_and_quotas_changed_by_hand_are_put_back(bus: PolicyBus) -> None:
    before = sync.observe(bus.admin)
    with Admin(bus.admin) as admin:
        admin.alter_configs({SOURCE: {"retention.ms": "1", "message.timestamp.type": "CreateTime"}})
    raw.set_quotas(bus.admin, {"renshe": raw.Quota(1, 1), None: None})
    with Session(bus.admin) as session:
        finer = [{"EntityType": "user", "EntityName": "renshe"}, {"EntityType": "client-id", "EntityName": None}]
        freed = [{"Key": key, "Value": 1e12} for key in ("consumer_byte_rate", "request_percentage")]
        answer = ask(session, "AlterClientQuotas", 1, {"Entries": [{"Entity": finer, "Ops": freed}]})
        assert error_codes(answer) == {0}
    assert eventually(lambda: bus.plan().summary == "4 to change")
    bus.apply()
    assert sync.observe(bus.admin) == before


def test_a_disabled_department_cannot_log_in_and_keeps_nothing(bus: PolicyBus) -> None:
    bus.decide(department("renshe", enabled=False))
    former = bus.log_in_as("renshe")
    bus.apply()
    assert eventually(lambda: not admitted(former))
    left = sync.observe(bus.admin)
    assert not [rule for rule in left.rules if rule.account == "renshe"]
    assert "renshe" not in left.quotas
    with pytest.raises(UnknownAccount):
        bus.log_in("renshe")
    bus.decide(department("renshe"))
    reason = "department renshe is enabled; its password was never issued, or removed: bianhe account rotate renshe"
    assert [entry.reason for entry in bus.apply().for_a_person] == [reason]
    assert attempt_read(bus.log_in("renshe"), OPEN, "renshe.main") == ANSWERED
    assert not bus.plan().differs


def test_an_ended_grant_loses_its_access_rule_and_keeps_its_topic(bus: PolicyBus) -> None:
    reader = bus.log_in("tongji")
    bus.decide(revoked(2))
    assert not bus.plan().differs
    bus.decide(effective(2, {"0": 0, "1": 0}))
    (closing,) = bus.apply().steps
    assert line(closing).reason == "G-2026-0002 has ended"
    assert eventually(lambda: attempt_read(reader, TONGJI, "tongji.main") == TOPIC_DENIED)
    assert TONGJI in sync.observe(bus.admin).topics
    assert not bus.plan().differs


def test_killed_at_any_step_the_next_apply_completes_it(bus: PolicyBus) -> None:
    bus.decide(*(department(f"bureau-{index}") for index in range(6)))
    steps = bus.plan().steps
    for cut in range(len(steps)):
        sync.apply(bus.admin, steps[cut : cut + 1], bus.secrets)
    assert bus.plan().steps == ()


def test_b29_a_rotation_that_the_database_refuses_leaves_the_former_password(bus: PolicyBus, tmp_path: Path) -> None:
    former = bus.log_in("gongan")
    url = make_url(bus.database_url)
    if url.get_backend_name() == "sqlite":
        read_only = f"sqlite:///file:{url.database}?mode=ro&uri=true"
    else:
        read_only = url.update_query_dict({"options": "-c default_transaction_read_only=on"}).render_as_string(False)
    with pytest.raises(DatabaseUnusable, match="nothing was changed"):
        accounts.rotate(bus.admin, engine(read_only), {"gongan": tmp_path / "gongan"})
    assert admitted(former)
    assert list(tmp_path.iterdir()) == []


def settings(monkeypatch: pytest.MonkeyPatch, bus: PolicyBus) -> None:
    """What a command needs to find this bus."""
    monkeypatch.setenv("BIANHE_DATABASE", bus.database_url)
    monkeypatch.setenv("BIANHE_KAFKA__BOOTSTRAP", bus.broker.bootstrap)
    monkeypatch.setenv("BIANHE_KAFKA__SECRETS", str(bus.secrets))
    write_secret(bus.secrets / "bus-admin", bus.broker.admin_password())


def test_the_commands_say_by_exit_code_what_differs_and_never_show_a_password(
    bus: PolicyBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings(monkeypatch, bus)
    bus.decide(department("bureau-9"))
    planned = CliRunner().invoke(app, ["sync", "plan", "--output", "json"])
    assert planned.exit_code == Exit.DIFFERENCES
    assert {"+", "~", "!"} <= {row["sign"] for row in json.loads(planned.stdout)}
    file = tmp_path / "bureau-9"
    rotated = CliRunner().invoke(app, ["account", "rotate", "bureau-9", "--to", str(file)])
    assert rotated.exit_code == Exit.DONE
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() not in rotated.output
    assert CliRunner().invoke(app, ["account", "rotate", "bureau-9", "--show"]).exit_code == Exit.MISUSED
    # Every other bureau still waits for its password, so a person has something to do.
    assert CliRunner().invoke(app, ["sync", "apply"]).exit_code == Exit.DIFFERENCES
    for index in range(6):
        bus.log_in(f"bureau-{index}")
    left = CliRunner().invoke(app, ["sync", "plan", "--output", "json"])
    # The policy was put on the log by hand: the registry's database has none of its schemas, which a person must mend.
    assert {row["kind"] for row in json.loads(left.stdout) if row["sign"] != "?"} == {"subject"}


def test_b30_ctrl_c_in_sync_apply_leaves_what_the_next_one_completes(
    bus: PolicyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.decide(*(department(f"county-{index}") for index in range(40)))
    settings(monkeypatch, bus)
    for moment in (0.9, 1.2, 1.6):
        with subprocess.Popen(command("sync", "apply"), stderr=subprocess.PIPE, text=True) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode in (130, Exit.DIFFERENCES), said
        assert "Traceback" not in said
    assert bianhe("sync", "apply").returncode == Exit.DIFFERENCES
    assert bus.plan().steps == ()
