"""What `bianhe doctor` calls right and wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from bianhe.infra.cli import judgement
from bianhe.infra.cli.broker_requirements import REQUIREMENTS, brokers_as_required
from bianhe.infra.cli.console import Exit
from bianhe.infra.cli.examination import CHECKS, SETTINGS, Check, examine
from bianhe.infra.cli.finding import Finding, State, Verdict, exit_code, ok
from bianhe.infra.cli.installation import Installation
from bianhe.infra.embedded.server_properties import Ports, server_properties
from bianhe.infra.kafka.admin import HIDDEN, Replicas
from bianhe.infra.kafka.transactions import HangingTransaction
from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.policy.chain import OutboxRow
from bianhe.registry.stops.stop import in_force
from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.plan import Line, Plan, RemoveRule, Sign
from bianhe.schemas.errors import Transient
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.journal import Quarantined
from bianhe.schemas.records.policy import Ratified, Stopped, Target
from support.policies import AT, WRITERS, city, policy

RIGHT = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "auto.create.topics.enable": "false",
    "transaction.max.timeout.ms": "60000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "connections.max.idle.ms": "30000",
    "connections.max.reauth.ms": "60000",
    "fetch.max.bytes": "8388608",
    "max.connections": "2000",
    "offsets.retention.minutes": "129600",
}


def states(verdicts: Iterable[Verdict]) -> list[State]:
    """The states; and whatever is wrong says what to do about it."""
    found = list(verdicts)
    assert all(verdict.fact and (verdict.state is State.OK or verdict.cure) for verdict in found)
    return [verdict.state for verdict in found]


def test_brokers_with_every_required_setting_are_right() -> None:
    assert states(brokers_as_required({1: RIGHT, 2: RIGHT})) == [State.OK]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorizer.class.name", ""),
        ("authorizer.class.name", "org.example.AllowAll"),
        ("auto.create.topics.enable", "true"),
        ("transaction.max.timeout.ms", "900000"),
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000"),
        ("connections.max.idle.ms", "600000"),
        ("connections.max.idle.ms", "-1"),
        ("connections.max.reauth.ms", "0"),
        ("fetch.max.bytes", "57671680"),
        ("max.connections", "2147483647"),
        ("offsets.retention.minutes", "10080"),
        ("delegation.token.secret.key", HIDDEN),
        ("listener.name.client.connections.max.reauth.ms", "3600000"),
    ],
)
def test_a_wrong_broker_setting_is_named_with_its_broker_and_its_value(name: str, value: str) -> None:
    (verdict,) = brokers_as_required({1: RIGHT, 2: {**RIGHT, name: value}})
    assert verdict.state is State.FAULT
    assert verdict.fact.startswith(f"{name} is {value} on broker 2")
    assert verdict.cause
    assert name in verdict.cure


def test_a_setting_that_no_broker_tells_is_a_fault_of_each() -> None:
    verdicts = list(brokers_as_required({1: {}, 2: {}}))
    assert len(verdicts) == len(REQUIREMENTS) - 1
    assert all("is not set on broker 1, 2" in verdict.fact for verdict in verdicts)


def test_the_embedded_broker_is_told_what_is_required() -> None:
    text = server_properties(Path("data"), Ports(1, 2, 3), SecretStr("secret"))
    told = dict(line.split("=", 1) for line in text.splitlines())
    assert states(brokers_as_required({1: told})) == [State.OK]
    assert told["allow.everyone.if.no.acl.found"] == "false"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (judgement.default_deny({1: False, 2: False}, "x"), [State.OK]),
        (judgement.default_deny({1: False, 2: True}, "x"), [State.FAULT]),
        (judgement.librdkafka("2.6.1"), [State.OK]),
        (judgement.librdkafka("2.6.0"), [State.FAULT]),
        (judgement.librdkafka("2.10.0-RC1"), [State.OK]),
        (judgement.packages(["typer>=0.29", 'ruff>=1; extra == "dev"'], {"typer": "0.30.1"}), [State.OK]),
        (judgement.packages(["typer>=0.29"], {"typer": "0.9"}), [State.FAULT]),
        (judgement.packages(["typer>=0.29"], {}), [State.FAULT]),
        (judgement.replication({"a": Replicas(3, 3)}, 2), [State.OK]),
        (judgement.replication({"a": Replicas(1, 1), "b": Replicas(3, 3)}, 2), [State.WARNING]),
        (judgement.replication({"a": Replicas(3, 3)}, 1), [State.WARNING]),
        (judgement.replication({"a": Replicas(3, 2)}, 2), [State.FAULT]),
        (judgement.lag({"source.a.v1": 10_000, "source.b.v1": 0}), [State.OK]),
        (judgement.lag({"source.a.v1": 10_001, "source.b.v1": 0}), [State.WARNING]),
        (judgement.quarantine([], more=False), [State.OK]),
        (judgement.quarantine([Quarantined("source.a.v1", 0, 7, "cut short", "", 9)], more=False), [State.WARNING]),
        (judgement.transactions([]), [State.OK]),
        (judgement.transactions([HangingTransaction("open.a.v1.r1", 0, 7, 4711, 0, 0, 300.0)]), [State.FAULT]),
        (judgement.disk(900_000_000, "/"), [State.FAULT]),
        (judgement.disk(4_000_000_000, "/"), [State.WARNING]),
        (judgement.disk(50_000_000_000, "/"), [State.OK]),
        (judgement.clock(100.0, 100.1, 100.2), [State.OK]),
        (judgement.clock(100.0, 97.0, 109.0), [State.FAULT]),
        (judgement.clock(100.0, 112.0, 109.0), [State.FAULT]),
        (judgement.clock(100.0, 108.0, 109.0), [State.OK]),
        (judgement.registry("u", (200, "{}"), (200, "[]")), [State.OK]),
        (judgement.registry("u", (200, "{}"), (404, "{}")), [State.OK]),
        (judgement.registry("u", (200, "{}"), (404, "<html>")), [State.FAULT]),
        (judgement.registry("u", (200, "{}"), (401, "{}")), [State.FAULT]),
        (judgement.registry("u", (500, "{}"), (200, "[]")), [State.FAULT]),
    ],
)
def test_facts_are_judged(verdicts: Iterator[Verdict], expected: list[State]) -> None:
    assert states(verdicts) == expected


@pytest.mark.parametrize(
    ("acknowledged", "members", "expected"),
    [
        ((3, 3), {"bus.router.0", "bus.router.1"}, [State.OK]),
        ((3, 3), None, [State.OK]),
        ((3, 2), {"bus.router.0", "bus.router.1"}, [State.FAULT]),
        ((3, 3), {"bus.router.1"}, [State.FAULT]),
        ((0, 0), None, [State.FAULT, State.FAULT]),
    ],
)
def test_every_writer_runs_and_has_acknowledged_the_present_policy(
    acknowledged: tuple[int, int], members: set[str] | None, expected: list[State]
) -> None:
    policy = Policy(version=3, writers=WRITERS.transactional_ids)
    versions = dict(zip(policy.writers, acknowledged, strict=True))
    running = None if members is None else frozenset(members)
    assert states(judgement.router(policy, versions, running)) == expected


@pytest.mark.parametrize(
    ("days", "ratified", "expected"),
    [(0, False, State.WARNING), (1, False, State.WARNING), (2, False, State.FAULT), (9, True, State.WARNING)],
)
def test_a_stop_that_no_second_person_has_answered_in_time_is_a_fault(
    days: int, ratified: bool, expected: State
) -> None:
    stopped = policy(Stopped(target=Target.DEPARTMENT, code="renshe", reason="口令泄露", decided_by="x"), after=city())
    answer = Ratified(target=Target.DEPARTMENT, code="renshe", decided_by="y")
    stops = list(in_force(policy(answer, after=stopped) if ratified else stopped, Calendar()))
    assert states(judgement.stops(stops, AT + timedelta(days=days))) == [expected]
    assert states(judgement.stops([], AT)) == [State.OK]


@pytest.mark.parametrize(("seconds", "expected"), [(3, State.WARNING), (60, State.FAULT)])
def test_a_decision_may_wait_for_a_moment_only(seconds: int, expected: State) -> None:
    waiting = [OutboxRow("id", AT - timedelta(seconds=seconds), WRITERS)]
    assert states(judgement.relay(waiting, 2, Policy(version=2), AT)) == [expected]
    assert states(judgement.relay([], 2, Policy(version=2), AT)) == [State.OK]


@pytest.mark.parametrize(
    ("today", "expected"),
    [(date(2026, 6, 1), State.OK), (date(2026, 11, 22), State.WARNING), (date(2027, 1, 5), State.WARNING)],
)
def test_the_holidays_of_the_coming_weeks_must_be_known(today: date, expected: State) -> None:
    assert states(judgement.calendar(Calendar({date(2026, 10, 1): False}), today)) == [expected]


def test_every_difference_is_named_until_there_are_many() -> None:
    rules = [RemoveRule(AccessRule("renshe", "READ", "TOPIC", f"source.r{n}.v1"), "no grant") for n in range(9)]
    person = Line(Sign.PERSON, "account", "renshe  has none", "department renshe", "bianhe account rotate renshe")
    few = list(judgement.sync(Plan((rules[0],), (person,), ())))
    assert [verdict.fact for verdict in few] == ["- allow READ renshe on source.r0.v1", "account renshe has none"]
    assert (few[1].cause, few[1].cure) == ("department renshe", "bianhe account rotate renshe")
    many = list(judgement.sync(Plan(tuple(rules), (), ())))
    assert len(many) == judgement.SHOWN_MAX + 1
    assert "9 differences" in many[-1].fact
    assert states(judgement.sync(Plan((), (), ()))) == [State.OK]


def test_what_a_check_raises_is_its_fault_and_leaves_those_that_need_it_unknown() -> None:
    def broken(installation: Installation) -> Iterator[Verdict]:
        raise Transient("no broker answers", cause="it is down", cure="start it")
        yield

    def surprising(installation: Installation) -> Iterator[Verdict]:
        yield ok(str(1 // 0))

    def fine(installation: Installation) -> Iterator[Verdict]:
        yield ok("fine")

    checks = [
        Check("a", broken),
        Check("b", fine, ("a",)),
        Check("c", fine, ("b",)),
        Check("d", surprising),
        Check("e", fine),
    ]
    with Installation() as installation:
        findings = list(examine(installation, checks))
    assert findings[0] == Finding("a", State.FAULT, "no broker answers", "it is down", "start it")
    assert [finding.state for finding in findings[1:]] == [State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.OK]


def test_each_check_comes_after_those_that_it_needs() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for place, check in enumerate(CHECKS):
        assert set(check.needs) <= set(names[:place])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([State.OK, State.WARNING], Exit.DONE),
        ([State.OK, State.FAULT], Exit.DIFFERENCES),
        ([State.UNKNOWN], Exit.DIFFERENCES),
    ],
)
def test_warnings_are_no_differences(found: list[State], expected: Exit) -> None:
    assert exit_code([Finding("disk", state, "") for state in found], SETTINGS) is expected


def test_without_settings_nothing_was_examined() -> None:
    findings = [Finding("disk", State.OK, ""), Finding(SETTINGS, State.FAULT, "")]
    assert exit_code(findings, SETTINGS) is Exit.FAILED


def test_what_could_not_be_compiled_is_worth_a_warning_and_no_fault() -> None:
    assert [
        (found.state, found.fact) for way in (True, False) for found in judgement.compiled(way, "quick", "slow")
    ] == [
        (State.OK, "quick"),
        (State.WARNING, "slow"),
    ]
