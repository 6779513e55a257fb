"""A plan makes the cluster what it should be, closes first, and leaves alone what is not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.sync.cluster import AccessRule, Actual, Effect, Pattern, Quota, ResourceKind, Topic
from bianhe.registry.sync.desired import desired
from bianhe.registry.sync.plan import (
    AddRule,
    CreateTopic,
    IssueAccount,
    RemoveAccount,
    RemoveFinerQuota,
    RemoveQuota,
    RemoveRule,
    SetConfigs,
    SetQuota,
    Sign,
    Step,
    line,
    plan,
)
from bianhe.schemas.names import BUS_ACCOUNTS, MANAGED_PREFIXES
from support.policies import OPEN, SOURCE, city, mailbox

DESIRED = desired(city())
IN_SYNC = Actual(
    topics=DESIRED.topics,
    rules=frozenset(DESIRED.rules),
    accounts=frozenset(DESIRED.accounts),
    quotas=DESIRED.quotas,
)
BY_HAND = AccessRule("shangwu", "READ", ResourceKind.TOPIC, "grant.tongji.population.v1.g-2026-0002")


def take(actual: Actual, step: Step) -> Actual:
    """What a cluster is after a step."""
    match step:
        case CreateTopic(topic):
            assert topic.name not in actual.topics
            return replace(actual, topics={**actual.topics, topic.name: topic})
        case SetConfigs(topic, _):
            present = replace(actual.topics[topic.name], configs=topic.configs)
            return replace(actual, topics={**actual.topics, topic.name: present})
        case AddRule(rule, _):
            return replace(actual, rules=actual.rules | {rule})
        case RemoveRule(rule, _):
            assert rule in actual.rules
            return replace(actual, rules=actual.rules - {rule})
        case IssueAccount(account):
            return replace(actual, accounts=actual.accounts | {account})
        case RemoveAccount(account):
            return replace(actual, accounts=actual.accounts - {account})
        case SetQuota(account, quota, _):
            return replace(actual, quotas={**actual.quotas, account: quota})
        case RemoveQuota(account):
            return replace(actual, quotas={name: quota for name, quota in actual.quotas.items() if name != account})
        case RemoveFinerQuota(account, client_id):
            return replace(actual, finer_quotas=actual.finer_quotas - {(account, client_id)})


names = st.sampled_from([*DESIRED.topics, "grant.renshe.population.v1.g-2026-0099", "weather", "", "gra", "*"])
accounts = st.sampled_from([*DESIRED.accounts, "jiaotong", "jiaoyu", "weather", "bus-old", "*"])
rules = st.builds(
    AccessRule,
    account=accounts,
    operation=st.sampled_from(["READ", "WRITE", "DESCRIBE", "ALL"]),
    kind=st.sampled_from([*ResourceKind, "DELEGATION_TOKEN"]),
    name=names,
    pattern=st.sampled_from(Pattern),
    effect=st.sampled_from(Effect),
    host=st.sampled_from(["*", "10.0.0.1"]),
)
quotas = st.builds(Quota, *[st.sampled_from([0.0, 1.0, 5_000_000.0])] * 2)
topics = st.builds(
    Topic,
    names.filter(bool),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(["retention.ms", "cleanup.policy"]), st.sampled_from(["-1", "1"])),
)
clusters = st.builds(
    Actual,
    topics=st.lists(topics).map(lambda found: {topic.name: topic for topic in found}),
    rules=st.frozensets(st.one_of(rules, st.sampled_from([*DESIRED.rules]))),
    accounts=st.frozensets(accounts),
    quotas=st.dictionaries(st.one_of(st.none(), accounts), quotas),
    finer_quotas=st.frozensets(
        st.tuples(st.one_of(st.none(), accounts), st.sampled_from([None, "import"])), max_size=2
    ),
)


@given(clusters)
def test_taking_the_steps_leaves_none_to_take(actual: Actual) -> None:
    for step in plan(DESIRED, actual).steps:
        actual = take(actual, step)
    assert plan(DESIRED, actual).steps == ()
    assert DESIRED.rules.keys() <= actual.rules


@given(clusters, st.data())
def test_killed_anywhere_and_planned_again_ends_in_the_same_cluster(actual: Actual, data: st.DataObject) -> None:
    steps = plan(DESIRED, actual).steps
    whole, halted = actual, actual
    for step in steps:
        whole = take(whole, step)
    for step in steps[: data.draw(st.integers(0, len(steps)))]:
        halted = take(halted, step)
    for step in plan(DESIRED, halted).steps:
        halted = take(halted, step)
    assert halted == whole


@given(clusters)
def test_nothing_opens_before_all_that_closes_is_closed(actual: Actual) -> None:
    allowing = [
        step.rule.effect == Effect.ALLOW if isinstance(step, RemoveRule) else isinstance(step, RemoveAccount)
        for step in plan(DESIRED, actual).steps
    ]
    assert allowing == sorted(allowing, reverse=True)


@given(clusters)
def test_no_foreign_thing_is_touched(actual: Actual) -> None:
    for step in plan(DESIRED, actual).steps:
        match step:
            case CreateTopic(topic) | SetConfigs(topic, _):
                assert topic.name.startswith(MANAGED_PREFIXES)
            case RemoveAccount(account) | RemoveQuota(account) | IssueAccount(account) | RemoveFinerQuota(account, _):
                assert account != "weather"
            case RemoveRule(rule, _):
                assert rule.name != "weather" or rule.account != "weather"
            case AddRule(rule, _):
                assert rule in DESIRED.rules
            case SetQuota(account, _, _):
                assert account in DESIRED.quotas


def test_a_cluster_in_sync_has_no_difference() -> None:
    found = plan(DESIRED, IN_SYNC)
    assert not found.differs
    assert found.summary == "in sync"


def test_an_access_rule_added_by_hand_is_closed() -> None:
    found = plan(DESIRED, replace(IN_SYNC, rules=IN_SYNC.rules | {BY_HAND}))
    assert found.steps == (RemoveRule(BY_HAND, "no grant; added outside the catalog"),)
    assert (found.summary, found.outcome) == ("1 to close", "1 closed")
    text = line(found.steps[0])
    assert (text.sign, text.kind) == (Sign.CLOSE, "allow")
    assert text.text == "READ shangwu on grant.tongji.population.v1.g-2026-0002"


def test_an_access_rule_of_an_ended_grant_is_closed_by_its_number() -> None:
    left_over = AccessRule("jiaoyu", "READ", ResourceKind.TOPIC, mailbox(4, "jiaoyu"))
    (step,) = plan(DESIRED, replace(IN_SYNC, rules=IN_SYNC.rules | {left_over})).steps
    assert step == RemoveRule(left_over, "G-2026-0004 has ended")


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule("weather", "READ", ResourceKind.TOPIC, "*"),
        AccessRule("weather", "READ", ResourceKind.TOPIC, "gr", Pattern.PREFIXED),
        AccessRule("weather", "READ", ResourceKind.TOPIC, "grant.tongji.", Pattern.PREFIXED),
        AccessRule("*", "READ", ResourceKind.TOPIC, SOURCE),
        AccessRule("weather", "READ", ResourceKind.GROUP, "renshe.main"),
        AccessRule("renshe", "READ", ResourceKind.GROUP, "renshe.", Pattern.PREFIXED),
        AccessRule("tongji", "READ", ResourceKind.GROUP, "bus.router"),
        AccessRule("renshe", "WRITE", ResourceKind.TRANSACTIONAL_ID, "bus.policy"),
        AccessRule("renshe", "ALTER", ResourceKind.CLUSTER, "kafka-cluster"),
        AccessRule("renshe", "READ", ResourceKind.TOPIC, OPEN, host="10.0.0.1"),
        AccessRule("renshe", "READ", ResourceKind.TOPIC, OPEN, effect=Effect.DENY),
    ],
    ids=str,
)
def test_what_reaches_a_managed_name_without_a_grant_is_removed(rule: AccessRule) -> None:
    (step,) = plan(DESIRED, replace(IN_SYNC, rules=IN_SYNC.rules | {rule})).steps
    assert isinstance(step, RemoveRule)
    assert step.rule == rule


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule("weather", "READ", ResourceKind.TOPIC, "weather"),
        AccessRule("renshe", "READ", ResourceKind.TOPIC, "weather"),
        AccessRule("weather", "READ", ResourceKind.GROUP, "weather"),
        AccessRule("weather", "CLUSTER_ACTION", ResourceKind.CLUSTER, "kafka-cluster"),
        AccessRule("weather", "WRITE", ResourceKind.TRANSACTIONAL_ID, "weather"),
    ],
    ids=str,
)
def test_what_is_foreign_is_left_alone_and_listed(rule: AccessRule) -> None:
    found = plan(DESIRED, replace(IN_SYNC, rules=IN_SYNC.rules | {rule}))
    assert not found.differs
    assert [(entry.sign, entry.text) for entry in found.foreign] == [(Sign.FOREIGN, str(rule))]


def test_a_foreign_topic_and_account_are_left_alone_and_listed() -> None:
    weather = Topic("weather", 1, {})
    found = plan(
        DESIRED,
        replace(IN_SYNC, topics={**IN_SYNC.topics, "weather": weather}, accounts=IN_SYNC.accounts | {"weather"}),
    )
    assert not found.differs
    assert [(entry.kind, entry.text) for entry in found.foreign] == [("topic", "weather"), ("account", "weather")]


def test_a_partition_count_and_an_unknown_topic_need_a_person() -> None:
    unknown = Topic("grant.renshe.population.v1.g-2026-0099", 1, {})
    wider = replace(DESIRED.topics[OPEN], partitions=9)
    found = plan(DESIRED, replace(IN_SYNC, topics={**IN_SYNC.topics, OPEN: wider, unknown.name: unknown}))
    assert found.steps == ()
    assert found.differs
    assert {entry.text.split()[0] for entry in found.for_a_person} == {OPEN, unknown.name}


def test_a_department_without_a_credential_needs_a_person_and_a_component_is_issued_one() -> None:
    found = plan(DESIRED, replace(IN_SYNC, accounts=frozenset({"bus-admin", *DESIRED.departments})))
    assert found.steps == (RemoveAccount("jiaotong"), *(IssueAccount(name) for name in BUS_ACCOUNTS[1:]))
    found = plan(DESIRED, replace(IN_SYNC, accounts=IN_SYNC.accounts - {"renshe"}))
    assert found.steps == ()
    reason = "department renshe is enabled; its password was never issued, or removed: bianhe account rotate renshe"
    assert [entry.reason for entry in found.for_a_person] == [reason]


def test_configs_set_by_hand_are_put_back() -> None:
    changed = replace(DESIRED.topics[SOURCE], configs={**DESIRED.topics[SOURCE].configs, "retention.ms": "1"})
    (step,) = plan(DESIRED, replace(IN_SYNC, topics={**IN_SYNC.topics, SOURCE: changed})).steps
    assert step == SetConfigs(DESIRED.topics[SOURCE], ("retention.ms",))
    assert line(step).text == f"{SOURCE}  retention.ms=the default"


def test_the_plan_of_an_empty_cluster_opens_everything_once() -> None:
    empty = Actual({}, frozenset(), frozenset({"bus-admin"}), {})
    found = plan(DESIRED, empty)
    assert sum(isinstance(step, CreateTopic) for step in found.steps) == len(DESIRED.topics)
    assert sum(isinstance(step, AddRule) for step in found.steps) == len(DESIRED.rules)
    assert all(entry.sign is not Sign.CLOSE for entry in found.lines)


def test_a_subject_that_the_registry_lacks_or_has_alone_needs_a_person() -> None:
    served = frozenset(DESIRED.subjects)
    assert not plan(DESIRED, replace(IN_SYNC, subjects=served)).differs
    lost = (f"{OPEN}-value", 102)
    found = plan(DESIRED, replace(IN_SYNC, subjects=served - {lost} | {("stranger-value", 7)}))
    assert [(each.sign, each.kind, each.text) for each in found.for_a_person] == [
        (Sign.PERSON, "subject", f"{OPEN}-value  lacks schema 102"),
        (Sign.PERSON, "subject", "stranger-value  has schema 7"),
    ]
