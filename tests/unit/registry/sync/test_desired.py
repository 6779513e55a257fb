"""The cluster follows from the policy log: topics, who may do what on which, accounts and quotas."""

from __future__ import annotations

import itertools

import pytest

from bianhe.registry.sync.cluster import AccessRule, Pattern, ResourceKind
from bianhe.registry.sync.desired import BUS_BYTES_MAX, COMPONENT_QUOTA, DEFAULT_QUOTA, desired
from bianhe.schemas.names import ALERTS, BUS_ACCOUNTS, CHECKER_ACCOUNT, JOURNAL, POLICY, QUARANTINE, ROUTER_STATE
from bianhe.schemas.policy import EMPTY, Policy
from bianhe.schemas.records.policy import Lifted, Stopped, Target
from support.policies import OPEN, SOURCE, city, mailbox, policy

COMPONENTS = (*BUS_ACCOUNTS, CHECKER_ACCOUNT)
BUS_TOPICS = (POLICY, JOURNAL, ROUTER_STATE, QUARANTINE)
DEPARTMENTS = ("gongan", "renshe", "tongji", "minzheng", "jiaoyu", "shangwu", "jiaotong")
MAILBOXES = {code: mailbox(number, code) for number, code in ((2, "tongji"), (3, "minzheng"), (4, "jiaoyu"))}
TOPICS = (SOURCE, OPEN, *MAILBOXES.values(), mailbox(6, "jiaotong"), *BUS_TOPICS)
"""All that sync makes; the monitors make theirs."""

ALLOWED_TOPICS = {
    ("gongan", "WRITE", SOURCE),
    ("renshe", "READ", OPEN),
    ("tongji", "READ", MAILBOXES["tongji"]),
    ("minzheng", "READ", MAILBOXES["minzheng"]),
    ("bus-router", "READ", SOURCE),
    *(("bus-router", "READ", name) for name in TOPICS if name.startswith("grant.")),
    ("bus-router", "READ", "bus.policy"),
    ("bus-router", "READ", "bus.router-state"),
    *(("bus-router", "WRITE", name) for name in ("bus.router-state", "bus.journal", "bus.quarantine")),
    *(("bus-router", "WRITE", name) for name in TOPICS if name.startswith(("open.", "grant."))),
    ("bus-relay", "READ", "bus.policy"),
    ("bus-relay", "WRITE", "bus.policy"),
    ("bus-break-glass", "READ", "bus.policy"),
    ("bus-break-glass", "WRITE", "bus.policy"),
    ("bus-monitor", "READ", "bus.policy"),
    ("bus-monitor", "READ", "bus.journal"),
    *(("bus-monitor", operation, "monitor.alerts") for operation in ("READ", "WRITE", "CREATE")),
    *(("bus-checker", "READ", name) for name in TOPICS),
}
COMPONENT_GROUPS = ("bus.router", "bus-relay", "bus-break-glass", "bus.monitor")
GROUPS = (*(f"{code}.main" for code in DEPARTMENTS), "renshe.report", "renshe.other", *COMPONENT_GROUPS)
ALLOWED_GROUPS = {
    *((code, "READ", f"{code}.main") for code in DEPARTMENTS if code != "jiaotong"),
    ("renshe", "READ", "renshe.report"),
    ("bus-router", "READ", "bus.router"),
    ("bus-relay", "DESCRIBE", "bus-relay"),
    ("bus-monitor", "READ", "bus.monitor"),
    ("bus-break-glass", "DESCRIBE", "bus-break-glass"),
}
TRANSACTIONAL_IDS = ("bus.router.0", "bus.router.7", "bus.policy", "renshe.1")
ALLOWED_TRANSACTIONAL_IDS = {
    ("bus-router", "WRITE", "bus.router.0"),
    ("bus-router", "WRITE", "bus.router.7"),
    ("bus-relay", "WRITE", "bus.policy"),
    ("bus-break-glass", "WRITE", "bus.policy"),
}
OPERATIONS = ("READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "ALL")


def allows(rule: AccessRule, account: str, operation: str, kind: ResourceKind, name: str) -> bool:
    """The broker's own reading of an access rule."""
    named = name.startswith(rule.name) if rule.pattern == Pattern.PREFIXED else name == rule.name
    return (rule.account, rule.operation, rule.kind) == (account, operation, kind) and named


@pytest.mark.parametrize(
    ("kind", "resource_names", "allowed"),
    [
        (ResourceKind.TOPIC, (*TOPICS, ALERTS), ALLOWED_TOPICS),
        (ResourceKind.GROUP, GROUPS, ALLOWED_GROUPS),
        (ResourceKind.TRANSACTIONAL_ID, TRANSACTIONAL_IDS, ALLOWED_TRANSACTIONAL_IDS),
        (ResourceKind.CLUSTER, ("kafka-cluster",), {("bus-checker", "DESCRIBE", "kafka-cluster")}),
    ],
)
def test_every_account_may_do_exactly_this(
    kind: ResourceKind, resource_names: tuple[str, ...], allowed: set[tuple[str, str, str]]
) -> None:
    rules = desired(city()).rules
    attempts = itertools.product((*DEPARTMENTS, *COMPONENTS), OPERATIONS, resource_names)
    assert {
        (account, operation, name)
        for account, operation, name in attempts
        if any(allows(rule, account, operation, kind, name) for rule in rules)
    } == allowed


def test_departments_have_literal_access_rules_only() -> None:
    assert all(rule.pattern == Pattern.LITERAL for rule in desired(city()).rules if not rule.account.startswith("bus-"))


def test_every_access_rule_names_what_carries_it() -> None:
    rules = desired(city()).rules
    reading = {rule: reason for rule, reason in rules.items() if rule.name in (OPEN, MAILBOXES["tongji"])}
    assert set(reading.values()) == {"G-2026-0001", "G-2026-0002"}
    assert all(rules.values())


def test_a_grant_keeps_its_access_rule_until_the_log_says_effective() -> None:
    state = desired(city())
    held = {rule.name for rule in state.rules if rule.account == "minzheng" and rule.kind == ResourceKind.TOPIC}
    assert held == {MAILBOXES["minzheng"]}
    ended = {(rule.account, rule.name): number for rule, number in state.ended.items()}
    assert ended == {("jiaoyu", MAILBOXES["jiaoyu"]): "G-2026-0004", ("shangwu", OPEN): "G-2026-0005"}


def test_no_topic_ever_leaves_the_policy() -> None:
    assert set(desired(city()).topics) == set(TOPICS)


def test_a_delivery_topic_has_the_partitions_of_its_source_and_room_for_its_records() -> None:
    topics = desired(city()).topics
    for name in (OPEN, *MAILBOXES.values()):
        assert topics[name].partitions == topics[SOURCE].partitions == 2
        assert topics[name].configs["max.message.bytes"] == str(BUS_BYTES_MAX)
        assert topics[name].configs["cleanup.policy"] == "compact,delete"
        assert topics[name].configs["retention.ms"] == "-1"
    assert topics[SOURCE].configs == {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(7 * 86_400_000),
        "max.compaction.lag.ms": str(30 * 86_400_000),
        "delete.retention.ms": str(90 * 86_400_000),
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": "1048588",
    }


def test_the_empty_policy_calls_for_what_a_cluster_needs_first() -> None:
    state = desired(EMPTY)
    assert set(state.topics) == set(BUS_TOPICS)
    assert set(state.accounts) == set(COMPONENTS)
    assert {rule.account for rule in state.rules} == set(COMPONENTS) - {"bus-admin"}
    assert {name: topic.partitions for name, topic in state.topics.items()} == {
        "bus.policy": 1,
        "bus.journal": 4,
        "bus.quarantine": 1,
        "bus.router-state": 16,
    }
    assert state.topics["bus.policy"].configs["retention.ms"] == "-1"
    assert state.topics["bus.policy"].configs["cleanup.policy"] == "delete"


def test_a_disabled_department_has_neither_account_nor_quota() -> None:
    state = desired(city())
    assert "jiaotong" not in state.accounts
    assert "jiaotong" not in state.quotas


def test_every_account_has_a_quota_of_its_own_and_others_the_default() -> None:
    state = desired(city())
    assert set(state.quotas) == {None, *state.accounts}
    assert state.quotas[None] == DEFAULT_QUOTA
    assert state.quotas["renshe"].send == state.quotas["renshe"].receive == 5_000_000
    assert state.quotas["bus-router"] == COMPONENT_QUOTA


def stopped(target: Target, code: str) -> Policy:
    return policy(Stopped(target=target, code=code, reason="演练", decided_by="x"), after=city())


def test_a_stopped_department_may_do_nothing_and_another_its_own() -> None:
    state, before = desired(stopped(Target.DEPARTMENT, "tongji")), desired(city())
    gone = {rule for rule in before.rules if rule.account == "tongji"}
    assert gone == set(before.rules) - set(state.rules) == set(state.stopped)
    assert "tongji" in state.accounts


def test_nobody_reads_what_a_stopped_resource_gave_while_its_provider_may_publish() -> None:
    state = desired(stopped(Target.RESOURCE, "population"))
    rules = {rule for rule in state.rules if rule.kind == ResourceKind.TOPIC and not rule.account.startswith("bus-")}
    assert {(rule.account, rule.operation) for rule in rules} == {("gongan", "WRITE")}
    assert desired(
        policy(lifted(Target.RESOURCE, "population"), after=stopped(Target.RESOURCE, "population"))
    ).rules == (desired(city()).rules)


def lifted(target: Target, code: str) -> Lifted:
    return Lifted(target=target, code=code, decided_by="y")
