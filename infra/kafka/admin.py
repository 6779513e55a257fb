"""What an administrator does to a cluster, and sees of it: topics, access rules, accounts, settings, groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has types and no __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from bianhe.infra.closing import Closing
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import BrokerBusy, explained
from bianhe.infra.kafka.retry import patiently
from bianhe.infra.kafka.session import check_login
from bianhe.schemas.errors import Transient

SCRAM_ITERATIONS: Final = 4096
"""Kafka's least. Passwords are 32 random bytes, which no number of iterations makes harder to guess, and every client
pays for them at every connection (some 20 ms each for 8,192)."""
HIDDEN: Final = "(hidden)"
"""In place of a setting's value that a broker keeps to itself."""

P = ParamSpec("P")
T = TypeVar("T")


def _asked_again(read: Callable[Concatenate[Admin, P], T]) -> Callable[Concatenate[Admin, P], T]:
    """Ask again while a broker is busy, as one is that has just started: looking changes nothing."""

    @wraps(read)
    def reading(self: Admin, /, *args: P.args, **named: P.kwargs) -> T:
        return patiently(lambda: read(self, *args, **named), self._timeout)

    return reading


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its partition count and the settings that differ from the broker's. Replication is the broker's."""

    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas the weakest partition of a topic has, and how many of them have all of it."""

    total: int
    in_sync: int


class Admin(Closing):
    """The administrator's requests, each waited for. Raises the errors of `bianhe.infra.kafka.errors`.

    Opening it logs in first, so a wrong password or a broker that is down is said at once.
    """

    def __init__(self, connection: Connection, timeout: float = 30.0) -> None:
        check_login(connection)
        self._connection = connection
        self._timeout = timeout
        self._client = clients.admin(connection)

    def close(self) -> None:
        # The client has no close; the last lines of its log are fetched, then its threads end with the object.
        self._client.poll(0)

    @_asked_again
    def topics(self) -> dict[str, Topic]:
        """The topics that this account may see, without Kafka's own (`__…`)."""
        with explained(self._connection, "listing topics"):
            found = self._client.list_topics(timeout=self._timeout).topics
            partitions = {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}
            if not partitions:
                return {}
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in sorted(partitions)]
            described = self._client.describe_configs(resources, request_timeout=self._timeout)
            return {
                resource.name: Topic(partitions[resource.name], _own_settings(future.result()))
                for resource, future in described.items()
            }

    @_asked_again
    def replicas(self) -> dict[str, Replicas]:
        """The replicas of every topic, Kafka's own included."""
        with explained(self._connection, "listing topics"):
            found = self._client.list_topics(timeout=self._timeout).topics
        return {
            name: Replicas(
                min(len(partition.replicas) for partition in topic.partitions.values()),
                min(len(partition.isrs) for partition in topic.partitions.values()),
            )
            for name, topic in found.items()
            if topic.partitions
        }

    @_asked_again
    def broker_settings(self) -> dict[int, dict[str, str]]:
        """The settings that each broker really goes by, by node id; of secret ones only whether they were set."""
        with explained(self._connection, "reading the brokers' settings"):
            nodes = self._client.list_topics(timeout=self._timeout).brokers
            asked = [ConfigResource(ResourceType.BROKER, str(node)) for node in sorted(nodes)]
            described = self._client.describe_configs(asked, request_timeout=self._timeout)
            return {int(resource.name): _values(future.result()) for resource, future in described.items()}

    @_asked_again
    def group_members(self, group: str) -> frozenset[str]:
        """The static members of a consumer group, by instance id."""
        with explained(self._connection, f"listing the members of {group}"):
            answers = self._client.describe_consumer_groups([group], request_timeout=self._timeout)
            members = answers[group].result().members
        return frozenset(member.group_instance_id for member in members if member.group_instance_id)

    @_asked_again
    def group_offsets(self, *groups: str) -> dict[str, dict[tuple[str, int], int]]:
        """The offsets that consumer groups have committed, per topic and partition."""
        found = {}
        with explained(self._connection, f"reading the offsets of {', '.join(groups[:3])}"):
            # librdkafka takes one group in a request; they are on their way together.
            asked = [[ConsumerGroupTopicPartitions(group)] for group in groups]
            waits = [self._client.list_consumer_group_offsets(each, request_timeout=self._timeout) for each in asked]
            for group, wait in zip(groups, waits, strict=True):
                places = wait[group].result().topic_partitions
                found[group] = {(each.topic, each.partition): each.offset for each in places if each.offset >= 0}
        return found

    def create_topics(self, topics: Mapping[str, Topic]) -> None:
        """Create topics and wait until they are served; one that exists is left as it is, whatever its settings."""
        fresh = [
            NewTopic(name, num_partitions=topic.partitions, replication_factor=-1, config=dict(topic.config))
            for name, topic in topics.items()
        ]
        if fresh:
            patiently(lambda: self._create(fresh), self._timeout, Transient)
            patiently(lambda: self._served(topics), self._timeout, Transient)

    def alter_configs(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set settings of topics; None returns a setting to the broker's default, what is not named stays."""
        resources = [
            ConfigResource(ResourceType.TOPIC, name, incremental_configs=_entries(settings))
            for name, settings in changes.items()
        ]
        if resources:
            self._wait(self._client.incremental_alter_configs(resources), "altering topic settings")

    def set_broker_setting(self, node: int, name: str, value: str) -> None:
        """Set one setting of a running broker. That it says yes does not mean that it took it."""
        entries = _entries({name: value})
        resource = ConfigResource(ResourceType.BROKER, str(node), incremental_configs=entries)
        self._wait(self._client.incremental_alter_configs([resource]), f"setting {name} of broker {node}")

    def create_rules(self, rules: Iterable[AccessRule]) -> None:
        """Add access rules; those that exist stay."""
        if bindings := [_binding(rule) for rule in rules]:
            self._wait(self._client.create_acls(bindings, request_timeout=self._timeout), "adding access rules")

    def delete_rules(self, rules: Iterable[AccessRule]) -> None:
        """Remove exactly these access rules. Ask each broker whether it knows: `raw.access_rules`."""
        if filters := [_filter(rule) for rule in rules]:
            self._wait(self._client.delete_acls(filters, request_timeout=self._timeout), "removing access rules")

    def set_passwords(self, passwords: Mapping[str, SecretStr]) -> None:
        """Make accounts with these passwords, or give them new ones; sessions that are open live on."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        credentials: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(account, info, password.get_secret_value().encode())
            for account, password in passwords.items()
        ]
        doing = f"setting the password of {', '.join(passwords)}"
        self._wait(self._client.alter_user_scram_credentials(credentials), doing)

    def delete_account(self, account: str) -> None:
        """Remove an account's credential; it cannot log in again."""
        deletion = UserScramCredentialDeletion(account, ScramMechanism.SCRAM_SHA_512)
        self._wait(self._client.alter_user_scram_credentials([deletion]), f"removing account {account}")

    @_asked_again
    def end_offsets(self, topic: str, isolation: clients.Isolation) -> dict[int, int]:
        """Where each partition ends: the log end (read_uncommitted) or the last stable offset (read_committed)."""
        level = IsolationLevel.READ_COMMITTED if isolation == "read_committed" else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(topic, OffsetSpec.latest(), level)  # type: ignore[no-untyped-call]

    @_asked_again
    def ends(self, topics: Collection[str]) -> dict[tuple[str, int], int]:
        """The last stable offset of every partition of these topics, as far as they exist, in one request."""
        with explained(self._connection, "reading the ends of topics"):
            found = self._client.list_topics(timeout=self._timeout).topics
            places = [
                TopicPartition(name, partition)
                for name in topics
                if name in found
                for partition in found[name].partitions
            ]
            if not places:
                return {}
            latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            answers = self._client.list_offsets(
                dict.fromkeys(places, latest),
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=self._timeout,
            )
            return {(place.topic, place.partition): future.result().offset for place, future in answers.items()}

    @_asked_again
    def start_offsets(self, topic: str) -> dict[int, int]:
        """Where each partition begins now."""
        return self._offsets(topic, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]

    def delete_records(self, before: Mapping[tuple[str, int], int]) -> None:
        """Remove every record before an offset, per topic and partition; refused where cleanup is `compact` alone."""
        cuts = [TopicPartition(topic, partition, offset) for (topic, partition), offset in before.items()]
        if cuts:
            self._wait(self._client.delete_records(cuts, request_timeout=self._timeout), "removing records")

    def _offsets(self, topic: str, spec: OffsetSpec, level: IsolationLevel) -> dict[int, int]:
        with explained(self._connection, f"reading the offsets of {topic}"):
            partitions = self._client.list_topics(topic, timeout=self._timeout).topics[topic].partitions
            asked = {TopicPartition(topic, partition): spec for partition in partitions}
            answers = self._client.list_offsets(asked, isolation_level=level, request_timeout=self._timeout)
            return {place.partition: future.result().offset for place, future in answers.items()}

    def _create(self, fresh: list[NewTopic]) -> None:
        for name, future in self._client.create_topics(fresh, request_timeout=self._timeout).items():
            try:
                with explained(self._connection, f"creating topic {name}"):
                    future.result()
            except Transient:
                raise
            except Exception as error:
                if getattr(error, "code", "") != "TOPIC_ALREADY_EXISTS":
                    raise

    def _served(self, topics: Collection[str]) -> None:
        """Ask the leaders of new topics; until they have heard from the controller they know nothing of them."""
        if missing := set(topics) - {topic for topic, _ in self.ends(topics)}:
            raise BrokerBusy(f"creating topic {min(missing)}: no broker lists it yet", "UNKNOWN_TOPIC_OR_PART")

    def _wait(self, futures: Mapping[T, Future[object]], doing: str) -> None:
        with explained(self._connection, doing):
            for future in futures.values():
                future.result()


def _own_settings(described: Mapping[str, ConfigEntry]) -> dict[str, str]:
    return {
        name: str(entry.value)
        for name, entry in described.items()
        if entry.source in (ConfigSource.DYNAMIC_TOPIC_CONFIG, ConfigSource.DYNAMIC_TOPIC_CONFIG.value)
    }


def _values(described: Mapping[str, ConfigEntry]) -> dict[str, str]:
    """What is set, by name. A broker hides secrets, and settings that it does not know itself."""
    shown = {name: HIDDEN if entry.value is None else str(entry.value) for name, entry in described.items()}
    unset = {
        name
        for name, entry in described.items()
        if entry.value is None and entry.source in (ConfigSource.DEFAULT_CONFIG, ConfigSource.DEFAULT_CONFIG.value)
    }
    return {name: value for name, value in shown.items() if name not in unset}


def _entries(settings: Mapping[str, str | None]) -> list[ConfigEntry]:
    return [
        ConfigEntry(
            name,
            value or "",
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for name, value in settings.items()
    ]


def _binding(rule: AccessRule) -> AclBinding:
    return AclBinding(*_parts(rule))


def _filter(rule: AccessRule) -> AclBindingFilter:
    return AclBindingFilter(*_parts(rule))


def _parts(
    rule: AccessRule,
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    kind = "BROKER" if rule.resource_type == "CLUSTER" else rule.resource_type
    return (
        ResourceType[kind],
        rule.name,
        ResourcePatternType[rule.pattern],
        rule.principal,
        rule.host,
        AclOperation[rule.operation],
        AclPermissionType[rule.permission],
    )
