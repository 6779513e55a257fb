"""What the cluster should be, from the fold of the policy log alone (design 3.1, 3.4). Decides, touches nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from bianhe.registry.sync.cluster import AccessRule, Desired, Pattern, Quota, ResourceKind, Topic
from bianhe.schemas import names
from bianhe.schemas.policy import EMPTY, GrantInForce, Policy
from bianhe.schemas.records.policy import Target
from bianhe.schemas.records.state import STATE_PARTITIONS

DEFAULT_QUOTA: Final = Quota.both(1_000_000)
COMPONENT_QUOTA: Final = Quota.both(1_000_000_000_000)
"""No limit in practice: without a quota of its own an account falls under the default."""

SOURCE_BYTES_MAX: Final = 1_048_588
"""A record of 1 MB with its framing."""
BUS_BYTES_MAX: Final = 2_097_164
"""Twice that: no accepted record can grow past its delivery topic."""

_DAY_MS: Final = 86_400_000
_COMPACTION_LAG_DAYS: Final = 7
REMOVAL_DAYS: Final = 90
"""How long a removal stays readable: who was away longer starts again from an empty table."""
_BUS: Final = "bus"
_COMPONENTS: Final = (*names.BUS_ACCOUNTS, names.CHECKER_ACCOUNT)
_CLUSTER: Final = "kafka-cluster"
"""Kafka's name of itself as a thing to have rights on."""


def desired(policy: Policy) -> Desired:
    """The cluster that this policy calls for; of the empty policy, what a cluster needs before its first record."""
    enabled = [department for department in policy.departments.values() if department.enabled]
    rules = {**_component_rules(), **_department_rules(policy)}
    return Desired(
        topics={topic.name: topic for topic in _topics(policy)},
        rules=rules,
        accounts={
            **dict.fromkeys(_COMPONENTS, _BUS),
            **{department.code: f"department {department.code}" for department in enabled},
        },
        quotas={
            None: DEFAULT_QUOTA,
            **dict.fromkeys(_COMPONENTS, COMPONENT_QUOTA),
            **{department.code: Quota.both(department.bytes_per_second) for department in enabled},
        },
        ended={
            rule: number
            for number, grant in policy.grants.items()
            if not grant.readable and (rule := reading_rule(grant)) not in rules
        },
        stopped={
            rule: reason
            for rule, reason in _department_rules(replace(policy, stops=EMPTY.stops)).items()
            if rule not in rules
        },
        departments=frozenset(policy.departments),
        subjects=dict(_subjects(policy)),
    )


def _topics(policy: Policy) -> Iterator[Topic]:
    yield Topic(names.POLICY, 1, _kept({"cleanup.policy": "delete", "retention.ms": "-1"}), _BUS)
    yield Topic(names.JOURNAL, 4, _kept({"cleanup.policy": "delete", "retention.ms": str(3 * 365 * _DAY_MS)}), _BUS)
    yield Topic(names.QUARANTINE, 1, _kept({"cleanup.policy": "delete", "retention.ms": str(90 * _DAY_MS)}), _BUS)
    # Read whole by every router that recovers: small segments, so that compaction keeps it short.
    state = {"cleanup.policy": "compact", "segment.bytes": "16777216", "segment.ms": "3600000"}
    yield Topic(names.ROUTER_STATE, STATE_PARTITIONS, _kept(state), _BUS)
    for resource in policy.resources.values():
        configs = {"cleanup.policy": "compact", **_entity_configs(resource.erasure_days, SOURCE_BYTES_MAX)}
        source = names.source_topic(resource.code, resource.version)
        yield Topic(source, resource.partitions, configs, f"resource {resource.code}")
    for channel in policy.open_channels.values():
        yield _delivery_topic(
            policy, channel.topic, (channel.resource, channel.version), f"resource {channel.resource}"
        )
    for number, grant in policy.grants.items():
        if grant.topic not in policy.open_channels:
            yield _delivery_topic(policy, grant.topic, (grant.grant.resource, grant.grant.version), number)


def _subjects(policy: Policy) -> Iterator[tuple[tuple[str, int], str]]:
    for (code, version), revisions in policy.revisions.items():
        subject = names.value_subject(names.source_topic(code, version))
        yield from (((subject, revision.schema_id), f"resource {code}") for revision in revisions)
    for channel in policy.open_channels.values():
        yield (names.value_subject(channel.topic), channel.schema_id), f"resource {channel.resource}"
    for number, grant in policy.grants.items():
        if grant.topic not in policy.open_channels:
            yield (names.value_subject(grant.topic), grant.granted.schema_id), number


def _kept(configs: Mapping[str, str]) -> dict[str, str]:
    return {**configs, "max.message.bytes": str(BUS_BYTES_MAX)}


def _delivery_topic(policy: Policy, topic: str, resource: tuple[str, int], reason: str) -> Topic:
    source = policy.resources[resource]
    # Kafka refuses DeleteRecords on a topic that is only compacted; revocation and erasure need it.
    configs = {"cleanup.policy": "compact,delete", "retention.ms": "-1"}
    return Topic(topic, source.partitions, {**configs, **_entity_configs(source.erasure_days, BUS_BYTES_MAX)}, reason)


def _entity_configs(erasure_days: int, bytes_max: int) -> dict[str, str]:
    """Everyone who keeps up sees each event; what is erased is gone by the deadline; no provider sets the clock."""
    return {
        "min.compaction.lag.ms": str(min(_COMPACTION_LAG_DAYS, erasure_days) * _DAY_MS),
        "max.compaction.lag.ms": str(erasure_days * _DAY_MS),
        "delete.retention.ms": str(REMOVAL_DAYS * _DAY_MS),
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(bytes_max),
    }


def _component_rules() -> dict[AccessRule, str]:
    """The least that the components need; bus-admin is a super user and needs none."""
    router, monitor = names.ROUTER_ACCOUNT, names.MONITOR_ACCOUNT
    topic, prefixed = ResourceKind.TOPIC, Pattern.PREFIXED
    rules = [
        AccessRule(router, "READ", topic, names.SOURCE_PREFIX, prefixed),
        # What a mailbox with a row rule holds is read back from it when its grant is resumed.
        AccessRule(router, "READ", topic, names.GRANT_PREFIX, prefixed),
        AccessRule(router, "READ", topic, names.POLICY),
        AccessRule(router, "READ", topic, names.ROUTER_STATE),
        AccessRule(router, "READ", ResourceKind.GROUP, names.ROUTER_GROUP),
        *(AccessRule(router, "WRITE", topic, name) for name in (names.JOURNAL, names.ROUTER_STATE, names.QUARANTINE)),
        *(AccessRule(router, "WRITE", topic, name, prefixed) for name in (names.OPEN_PREFIX, names.GRANT_PREFIX)),
        AccessRule(router, "WRITE", ResourceKind.TRANSACTIONAL_ID, f"{names.ROUTER_GROUP}.", prefixed),
        *(
            rule
            for writer in (names.RELAY_ACCOUNT, names.BREAK_GLASS_ACCOUNT)
            for rule in (
                AccessRule(writer, "READ", topic, names.POLICY),
                AccessRule(writer, "WRITE", topic, names.POLICY),
                AccessRule(writer, "DESCRIBE", ResourceKind.GROUP, writer),
                AccessRule(writer, "WRITE", ResourceKind.TRANSACTIONAL_ID, names.RELAY_TRANSACTIONAL_ID),
            )
        ),
        *(AccessRule(monitor, "READ", topic, name) for name in (names.POLICY, names.JOURNAL)),
        *(AccessRule(monitor, each, topic, names.MONITOR_PREFIX, prefixed) for each in ("READ", "WRITE", "CREATE")),
        AccessRule(monitor, "READ", ResourceKind.GROUP, names.MONITOR_GROUP),
        *(AccessRule(names.CHECKER_ACCOUNT, "READ", topic, name, prefixed) for name in names.MANAGED_PREFIXES),
        # Every broker's access rules.
        AccessRule(names.CHECKER_ACCOUNT, "DESCRIBE", ResourceKind.CLUSTER, _CLUSTER),
    ]
    return dict.fromkeys(rules, _BUS)


def _department_rules(policy: Policy) -> dict[AccessRule, str]:
    """Literal rules of the enabled departments: write their sources, read what their grants carry, as their clients.

    A stopped department has none; of a stopped resource nothing is read, while its provider may go on publishing.
    """
    reasons: dict[AccessRule, list[str]] = defaultdict(list)
    for resource in policy.resources.values():
        source = names.source_topic(resource.code, resource.version)
        reasons[AccessRule(resource.provider, "WRITE", ResourceKind.TOPIC, source)].append(f"resource {resource.code}")
    for number, grant in policy.grants.items():
        if grant.readable and not policy.is_stopped(Target.RESOURCE, grant.grant.resource):
            reasons[reading_rule(grant)].append(number)
    for department in policy.departments.values():
        for client in department.clients:
            group = names.group(department.code, client)
            rule = AccessRule(department.code, "READ", ResourceKind.GROUP, group)
            reasons[rule].append(f"department {department.code}")
    return {
        rule: ", ".join(sorted(carriers))
        for rule, carriers in reasons.items()
        if rule.account in policy.departments
        and policy.departments[rule.account].enabled
        and not policy.is_stopped(Target.DEPARTMENT, rule.account)
    }


def reading_rule(grant: GrantInForce) -> AccessRule:
    """The access rule by which a department reads what its grant delivers."""
    return AccessRule(grant.grant.department, "READ", ResourceKind.TOPIC, grant.topic)
