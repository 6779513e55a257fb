"""What a cluster has, and the steps that change it. Needs an account that may alter the cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from pydantic import SecretStr

from bianhe.infra.kafka import access_rules, admin, raw
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.retry import patiently
from bianhe.infra.processes import not_collecting
from bianhe.infra.settings import read_secret, write_secret
from bianhe.registry.accounts.kafka import give_credentials
from bianhe.registry.policy.kafka import make_signing_keys, read_policy
from bianhe.registry.sync.cluster import AccessRule, Actual, Quota, Topic
from bianhe.registry.sync.desired import desired
from bianhe.registry.sync.plan import (
    AddRule,
    CreateTopic,
    IssueAccount,
    Plan,
    RemoveAccount,
    RemoveFinerQuota,
    RemoveQuota,
    RemoveRule,
    SetConfigs,
    SetQuota,
    Step,
    plan,
)
from bianhe.schemas import names
from bianhe.schemas.errors import Fatal, Transient
from bianhe.schemas.policy import EMPTY, Policy

_USER = "User:"
_CLOSING = RemoveRule | RemoveAccount | RemoveQuota | RemoveFinerQuota
_KNOWN_SECONDS = 30.0
_AT_ONCE = 200
"""Steps in one request: a controller takes 10,000 records in one, and a topic is one for each partition and setting."""


class PolicyLogMissing(Fatal):
    """The cluster carries resources but no policy log: what may be read cannot be known."""


class NotKnownYet(Transient):
    """A broker goes by access rules that were changed since."""


def plan_cluster(connection: Connection, subjects: frozenset[tuple[str, int]] | None = None) -> Plan:
    """The difference between what the policy log calls for and what the cluster is now.

    `subjects` is what the registry serves; without it subjects are not looked at.
    """
    with not_collecting():
        actual = replace(observe(connection), subjects=subjects)
        return plan(desired(_policy_in_force(connection, actual)), actual)


def observe(connection: Connection) -> Actual:
    """What the cluster has now. An access rule that any broker still knows is there."""
    known = raw.access_rules(connection)
    with admin.Admin(connection) as cluster:
        topics = cluster.topics()
    return Actual(
        topics={name: Topic(name, topic.partitions, topic.config) for name, topic in topics.items()},
        rules=frozenset(_from_kafka(rule) for rule in frozenset[access_rules.AccessRule]().union(*known.values())),
        accounts=raw.accounts(connection),
        quotas={account: Quota(quota.write, quota.read) for account, quota in raw.quotas(connection).items()},
        finer_quotas=raw.finer_quotas(connection),
    )


def brokers_with(connection: Connection, rule: AccessRule) -> dict[int, bool]:
    """Whether each broker still knows an access rule, by node id. Raises BrokerUnreachable where one is silent."""
    return {node: rule in rules for node, rules in rules_of(connection, rule.account).items()}


def rules_of(connection: Connection, account: str) -> dict[int, frozenset[AccessRule]]:
    """The access rules of an account as each broker by its node id knows them; raises BrokerUnreachable."""
    known = raw.access_rules(connection, _principal(account))
    return {node: frozenset(map(_from_kafka, rules)) for node, rules in known.items()}


def add_rule(connection: Connection, rule: AccessRule) -> None:
    """Add one access rule. Each broker learns of it in its own time: ask `brokers_with`."""
    with admin.Admin(connection) as cluster:
        cluster.create_rules([_to_kafka(rule)])


def close_account(connection: Connection, code: str, secret_files: Path) -> None:
    """Take from an account, at once, whatever the policy log does not give it any more."""
    steps = plan_cluster(connection).steps
    closing = [step for step in steps if isinstance(step, RemoveRule) and step.rule.account == code]
    apply(connection, [*closing, *(step for step in steps if step == RemoveAccount(code))], secret_files)


def remove_rule(connection: Connection, rule: AccessRule) -> None:
    """Remove one access rule. Each broker learns of it in its own time: ask `brokers_with`."""
    with admin.Admin(connection) as cluster:
        cluster.delete_rules([_to_kafka(rule)])


def apply(
    connection: Connection, steps: Iterable[Step], secret_files: Path, done: Callable[[Step], None] = lambda step: None
) -> None:
    """Take the steps in their order, many of one kind at once; `done` is told of each. Returns when brokers know.

    Killed anywhere, the next plan holds what is left. A component's new password goes into its file in `secret_files`.
    """
    taken = list(steps)
    with admin.Admin(connection) as cluster:
        for _, kind in groupby(taken, type):
            alike = list(kind)
            for first in range(0, len(alike), _AT_ONCE):
                batch = alike[first : first + _AT_ONCE]
                _take(connection, cluster, batch, secret_files)
                for step in batch:
                    done(step)
    ruling = [step for step in taken if isinstance(step, AddRule | RemoveRule)]
    if ruling:
        patiently(lambda: _check_known(connection, ruling[-1]), _KNOWN_SECONDS, NotKnownYet)


def _check_known(connection: Connection, step: AddRule | RemoveRule) -> None:
    """Brokers learn of access rules in their own time, but in order: who knows of the last one knows of all."""
    late = [
        node for node, known in brokers_with(connection, step.rule).items() if known is isinstance(step, RemoveRule)
    ]
    if late:
        raise NotKnownYet(f"broker {late[0]} has not heard of a change yet: {step.rule}", cure="bianhe sync plan")


def prepare(connection: Connection, secret_files: Path) -> None:
    """Bring up what the policy log itself needs: its topics, the components' accounts, its keys. Removes nothing."""
    make_signing_keys(secret_files)
    steps = plan(desired(EMPTY), observe(connection)).steps
    opening = [step for step in steps if not isinstance(step, _CLOSING)]
    apply(connection, opening, secret_files)


def _policy_in_force(connection: Connection, actual: Actual) -> Policy:
    if names.POLICY in actual.topics:
        return read_policy(connection)
    if any(name.startswith((names.SOURCE_PREFIX, names.OPEN_PREFIX, names.GRANT_PREFIX)) for name in actual.topics):
        raise PolicyLogMissing(
            f"the cluster carries resources but has no topic {names.POLICY}",
            cause="the topic was deleted, or this is not the cluster it seems to be",
            cure="restore the topic from a backup; until then nothing is opened or closed",
        )
    return EMPTY


def _take(connection: Connection, cluster: admin.Admin, batch: Sequence[Step], secret_files: Path) -> None:
    topics, passwords, rules_added, rules_removed = {}, {}, [], []
    quotas: dict[str | None, raw.Quota | None] = {}
    for step in batch:
        match step:
            case CreateTopic(topic):
                topics[topic.name] = admin.Topic(topic.partitions, topic.configs)
            case SetConfigs(topic, differing):
                cluster.alter_configs({topic.name: {key: topic.configs.get(key) for key in differing}})
            case AddRule(rule, _):
                rules_added.append(_to_kafka(rule))
            case RemoveRule(rule, _):
                rules_removed.append(_to_kafka(rule))
            case IssueAccount(account):
                passwords[account] = _component_password(secret_files / account)
            case RemoveAccount(account):
                cluster.delete_account(account)
            case SetQuota(account, quota, _):
                quotas[account] = raw.Quota(read=quota.receive, write=quota.send)
            case RemoveQuota(account):
                quotas[account] = None
            case RemoveFinerQuota(account, client_id):
                raw.remove_finer_quota(connection, account, client_id)
    if passwords:
        give_credentials(connection, passwords)
    raw.set_quotas(connection, quotas)
    cluster.create_topics(topics)
    cluster.delete_rules(rules_removed)
    cluster.create_rules(rules_added)


def _component_password(file: Path) -> SecretStr:
    """The password in the file; a new one where there is none. One that was issued before a crash is used again."""
    if file.exists():
        return read_secret(file)
    password = SecretStr(secrets.token_urlsafe(32))
    write_secret(file, password)
    return password


def _from_kafka(rule: access_rules.AccessRule) -> AccessRule:
    account = rule.principal.removeprefix(_USER)
    return AccessRule(account, rule.operation, rule.resource_type, rule.name, rule.pattern, rule.permission, rule.host)


def _to_kafka(rule: AccessRule) -> access_rules.AccessRule:
    return access_rules.AccessRule(
        _principal(rule.account), rule.kind, rule.name, rule.operation, rule.pattern, rule.effect, rule.host
    )


def _principal(account: str) -> str:
    return account if ":" in account else f"{_USER}{account}"
