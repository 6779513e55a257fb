"""Every operation that Kafka offers, as requests on a topic, a group, a transactional id and the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from kafka.record import MemoryRecordsBuilder  # type: ignore[import-untyped]

from bianhe.infra.kafka.session import Session
from support.kafka_messages import Values, ask, error_codes, strings

UNTRIED: Final = {
    "ApiVersions": "asked before login, by everybody",
    "SaslHandshake": "is the login",
    "SaslAuthenticate": "is the login",
}

_REFUSED: Final = {
    29: "TOPIC_AUTHORIZATION_FAILED",
    30: "GROUP_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    53: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    61: "DELEGATION_TOKEN_AUTH_DISABLED",
    65: "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
}
_TOPIC, _GROUP_CONFIG, _BROKER = 2, 32, 4
_MEMBER: Final = "AAAAAAAAAAAAAAAAAAAAAA"
_ABSENT: Final = "absent"


def one_record(value: bytes) -> bytes:
    """A batch of one record, as it goes over the wire."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1_000_000)
    builder.append(timestamp=0, key=b"key", value=value)
    builder.close()
    return bytes(builder.buffer())


_RECORDS: Final = one_record(b"value")


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    id: UUID


@dataclass(frozen=True, slots=True)
class Means:
    """What an account has of its own: an operation on one thing often needs another that it may use."""

    topic: Topic
    group: str
    transactional_id: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request. `version` is the newest that the broker knows, unless an older one says something else.

    A listing shows an account what it may see; it is allowed on a thing if the answer names it.
    """

    operation: str
    values: Values
    version: int | None = None
    lists: str = ""

    def allowed(self, session: Session, versions: dict[str, int]) -> bool:
        """Make the attempt: whether the broker got past the question of who asks."""
        version = versions[self.operation] if self.version is None else self.version
        answer = ask(session, self.operation, version, self.values)
        if self.lists:
            return self.lists in strings(answer)
        return not error_codes(answer) & _REFUSED.keys()


def on_topic(topic: Topic, own: Means) -> Iterator[Attempt]:
    """All that can be asked of a topic; deletion last."""
    name, id, zero = topic.name, topic.id, [0]
    by_name, by_id = {"Name": name}, {"TopicId": id}
    configs = [{"ResourceType": _TOPIC, "ResourceName": name, "Configs": [{"Name": "retention.ms", "Value": "-1"}]}]
    offset = {"Partitions": [{"PartitionIndex": 0, "CommittedOffset": 0}]}
    transaction = {"TransactionalId": own.transactional_id, "ProducerId": 1, "ProducerEpoch": 0}
    yield Attempt("Metadata", {"Topics": [by_name]})
    yield Attempt("Metadata", {"Topics": [by_id | {"Name": None}]})
    yield Attempt("Metadata", {"Topics": None}, lists=name)
    yield Attempt("DescribeTopicPartitions", {"Topics": [by_name], "ResponsePartitionLimit": 10})
    yield Attempt("DescribeTopicPartitions", {"ResponsePartitionLimit": 100}, lists=name)
    yield Attempt("Produce", _produced(by_name), version=12)
    yield Attempt("Produce", _produced(by_id))
    yield Attempt("Fetch", _fetched({"Topic": name}), version=12)
    yield Attempt("Fetch", _fetched(by_id))
    yield Attempt("ListOffsets", {"Topics": [by_name | {"Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]})
    yield Attempt(
        "OffsetForLeaderEpoch", {"ReplicaId": -1, "Topics": [{"Topic": name, "Partitions": [{"Partition": 0}]}]}
    )
    yield Attempt("DescribeProducers", {"Topics": [by_name | {"PartitionIndexes": zero}]})
    yield Attempt("OffsetCommit", {"GroupId": own.group, "Topics": [by_name | offset]}, version=9)
    yield Attempt("OffsetCommit", {"GroupId": own.group, "Topics": [by_id | offset]})
    asked = {"PartitionIndexes": zero}
    yield Attempt("OffsetFetch", {"Groups": [{"GroupId": own.group, "Topics": [by_name | asked]}]}, version=9)
    yield Attempt("OffsetFetch", {"Groups": [{"GroupId": own.group, "Topics": [by_id | asked]}]})
    yield Attempt("OffsetDelete", {"GroupId": own.group, "Topics": [by_name | {"Partitions": [{"PartitionIndex": 0}]}]})
    old = {f"V3AndBelow{key}": value for key, value in transaction.items()}
    added = {"V3AndBelowTopics": [by_name | {"Partitions": zero}]}
    yield Attempt("AddPartitionsToTxn", old | added, version=3)
    yield Attempt("TxnOffsetCommit", transaction | {"GroupId": own.group, "Topics": [by_name | offset]}, version=5)
    yield Attempt("TxnOffsetCommit", transaction | {"GroupId": own.group, "Topics": [by_id | offset]})
    yield Attempt("ShareFetch", _share_fetched(own.group, topic))
    yield Attempt(
        "ShareAcknowledge",
        {"GroupId": own.group, "MemberId": _MEMBER, "ShareSessionEpoch": 1, "Topics": [_acknowledged(topic)]},
    )
    shared = {"TopicName": name, "Partitions": zero}
    yield Attempt("DescribeShareGroupOffsets", {"Groups": [{"GroupId": own.group, "Topics": [shared]}]})
    moved = {"TopicName": name, "Partitions": [{"PartitionIndex": 0}]}
    yield Attempt("AlterShareGroupOffsets", {"GroupId": own.group, "Topics": [moved]})
    yield Attempt("DeleteShareGroupOffsets", {"GroupId": own.group, "Topics": [{"TopicName": name}]})
    heartbeat = {"GroupId": own.group, "MemberId": _MEMBER, "RebalanceTimeoutMs": 1000, "MemberEpoch": -1}
    yield Attempt("ConsumerGroupHeartbeat", heartbeat | {"SubscribedTopicNames": [name], "TopicPartitions": []})
    yield Attempt("DescribeConfigs", {"Resources": [{"ResourceType": _TOPIC, "ResourceName": name}]})
    yield Attempt("AlterConfigs", {"Resources": configs, "ValidateOnly": True})
    yield Attempt("IncrementalAlterConfigs", {"Resources": configs, "ValidateOnly": True})
    yield Attempt("CreatePartitions", {"Topics": [by_name | {"Count": 9}], "TimeoutMs": 1000, "ValidateOnly": True})
    created = by_name | {"NumPartitions": 1, "ReplicationFactor": 1}
    yield Attempt("CreateTopics", {"Topics": [created], "timeoutMs": 1000, "validateOnly": True})
    cut = {"Partitions": [{"PartitionIndex": 0, "Offset": 0}]}
    yield Attempt("DeleteRecords", {"Topics": [by_name | cut], "TimeoutMs": 1000})
    yield Attempt("ElectLeaders", {"TopicPartitions": [{"Topic": name, "Partitions": zero}], "TimeoutMs": 1000})
    placed = {"Partitions": [{"PartitionIndex": 0, "Replicas": [1]}]}
    yield Attempt("AlterPartitionReassignments", {"Topics": [by_name | placed], "TimeoutMs": 1000})
    yield Attempt("ListPartitionReassignments", {"Topics": [by_name | {"PartitionIndexes": zero}], "TimeoutMs": 1000})
    yield Attempt("AlterReplicaLogDirs", {"Dirs": [{"Path": "/absent", "Topics": [by_name | {"Partitions": zero}]}]})
    yield Attempt("DescribeLogDirs", {"Topics": [{"Topic": name, "Partitions": zero}]})
    yield Attempt("DescribeQuorum", {"Topics": [{"TopicName": name, "Partitions": [{"PartitionIndex": 0}]}]})
    marker = {"ProducerId": 1, "ProducerEpoch": 0, "Topics": [by_name | {"PartitionIndexes": zero}]}
    yield Attempt("WriteTxnMarkers", {"Markers": [marker]})
    yield Attempt("DeleteTopics", {"Topics": [by_id | {"Name": None}], "TimeoutMs": 1000})
    yield Attempt("DeleteTopics", {"Topics": [by_name], "TimeoutMs": 1000})


def on_group(group: str, own: Means) -> Iterator[Attempt]:
    """All that can be asked of a consumer group, and of the share or streams group that could carry its name."""
    itself, topic = {"GroupId": group}, {"Name": own.topic.name}
    offset = {"Partitions": [{"PartitionIndex": 0, "CommittedOffset": 0}]}
    transaction = {"TransactionalId": own.transactional_id, "ProducerId": 1, "ProducerEpoch": 0}
    configs = [{"ResourceType": _GROUP_CONFIG, "ResourceName": group}]
    yield Attempt("FindCoordinator", {"CoordinatorKeys": [group]})
    yield Attempt("ListGroups", {}, lists=group)
    yield Attempt("OffsetFetch", {"Groups": [itself | {"Topics": None}]}, version=9)
    yield Attempt("OffsetCommit", itself | {"Topics": [topic | offset]}, version=9)
    protocol = {"ProtocolType": "consumer", "Protocols": [{"Name": "range"}]}
    yield Attempt("JoinGroup", itself | protocol | {"SessionTimeoutMs": 6000, "RebalanceTimeoutMs": 6000})
    yield Attempt("SyncGroup", itself | {"ProtocolType": "consumer", "ProtocolName": "range"})
    yield Attempt("Heartbeat", itself | {"MemberId": _MEMBER})
    yield Attempt("LeaveGroup", itself | {"Members": [{"MemberId": _MEMBER}]})
    yield Attempt("DescribeGroups", {"Groups": [group]})
    yield Attempt("AddOffsetsToTxn", transaction | itself)
    yield Attempt("TxnOffsetCommit", transaction | itself | {"Topics": [topic | offset]}, version=5)
    heartbeat = itself | {"MemberId": _MEMBER, "RebalanceTimeoutMs": 1000, "MemberEpoch": -1}
    subscription = {"SubscribedTopicNames": [own.topic.name], "TopicPartitions": []}
    yield Attempt("ConsumerGroupHeartbeat", heartbeat | subscription)
    yield Attempt("ConsumerGroupDescribe", {"GroupIds": [group]})
    share = {"MemberId": _MEMBER, "MemberEpoch": -1, "SubscribedTopicNames": [own.topic.name]}
    yield Attempt("ShareGroupHeartbeat", itself | share)
    yield Attempt("ShareGroupDescribe", {"GroupIds": [group]})
    yield Attempt("ShareFetch", _share_fetched(group, own.topic))
    yield Attempt(
        "ShareAcknowledge", itself | {"MemberId": _MEMBER, "ShareSessionEpoch": 1, "Topics": [_acknowledged(own.topic)]}
    )
    yield Attempt("DescribeShareGroupOffsets", {"Groups": [itself | {"Topics": None}]})
    moved = {"TopicName": own.topic.name, "Partitions": [{"PartitionIndex": 0}]}
    yield Attempt("AlterShareGroupOffsets", itself | {"Topics": [moved]})
    yield Attempt("DeleteShareGroupOffsets", itself | {"Topics": [{"TopicName": own.topic.name}]})
    shared = {"TopicId": own.topic.id, "Partitions": [{"Partition": 0}]}
    for operation in ("Initialize", "Read", "Write", "Delete"):
        yield Attempt(f"{operation}ShareGroupState", itself | {"Topics": [shared]})
    yield Attempt("ReadShareGroupStateSummary", itself | {"Topics": [shared]})
    tasks: Values = {f"{kind}Tasks": [] for kind in ("Active", "Standby", "Warmup")}
    topology = {"Epoch": 1, "Subtopologies": [{"SubtopologyId": "0", "SourceTopics": [own.topic.name]}]}
    yield Attempt("StreamsGroupHeartbeat", heartbeat | tasks | {"ProcessId": "p", "Topology": topology})
    yield Attempt("StreamsGroupDescribe", {"GroupIds": [group]})
    yield Attempt("StreamsGroupTopologyDescriptionUpdate", itself | {"MemberId": _MEMBER})
    yield Attempt("DescribeConfigs", {"Resources": configs})
    changed = [configs[0] | {"Configs": [{"Name": "consumer.session.timeout.ms", "Value": "45000"}]}]
    yield Attempt("IncrementalAlterConfigs", {"Resources": changed, "ValidateOnly": True})
    yield Attempt("OffsetDelete", itself | {"Topics": [topic | {"Partitions": [{"PartitionIndex": 0}]}]})
    yield Attempt("DeleteGroups", {"GroupsNames": [group]})


def on_transactional_id(id: str, own: Means) -> Iterator[Attempt]:
    """All that can be asked of a transactional id."""
    itself = {"TransactionalId": id, "ProducerId": 1, "ProducerEpoch": 0}
    offset = {"Partitions": [{"PartitionIndex": 0, "CommittedOffset": 0}]}
    topic = {"Name": own.topic.name}
    yield Attempt("FindCoordinator", {"KeyType": 1, "CoordinatorKeys": [id]})
    fresh = {"ProducerId": -1, "ProducerEpoch": -1, "TransactionTimeoutMs": 10_000}
    yield Attempt("InitProducerId", {"TransactionalId": id} | fresh)
    old = {f"V3AndBelow{key}": value for key, value in itself.items()}
    yield Attempt("AddPartitionsToTxn", old | {"V3AndBelowTopics": [topic | {"Partitions": [0]}]}, version=3)
    yield Attempt("AddOffsetsToTxn", itself | {"GroupId": own.group})
    yield Attempt("TxnOffsetCommit", itself | {"GroupId": own.group, "Topics": [topic | offset]}, version=5)
    yield Attempt("EndTxn", itself)
    yield Attempt("DescribeTransactions", {"TransactionalIds": [id]})
    yield Attempt("ListTransactions", {"DurationFilter": -1}, lists=id)


def on_account(account: str) -> Iterator[Attempt]:
    """All that can be asked of an account's credential, quota and tokens."""
    owner = {"PrincipalType": "User", "PrincipalName": account}
    # A list of all, asked for without the right, is never answered.
    yield Attempt("DescribeUserScramCredentials", {"Users": [{"Name": account}]})
    yield Attempt("AlterUserScramCredentials", {"Deletions": [{"Name": f"{account}-{_ABSENT}", "Mechanism": 2}]})
    entity = {"EntityType": "user", "MatchType": 0, "Match": account}
    yield Attempt("DescribeClientQuotas", {"Components": [entity], "Strict": True})
    changed = {"Entity": [{"EntityType": "user", "EntityName": account}], "Ops": [{"Key": "consumer_byte_rate"}]}
    yield Attempt("AlterClientQuotas", {"Entries": [changed], "ValidateOnly": True})
    yield Attempt("DescribeDelegationToken", {"Owners": [owner]})
    yield Attempt("CreateDelegationToken", {"OwnerPrincipalType": "User", "OwnerPrincipalName": account})


def on_cluster() -> Iterator[Attempt]:
    """All that can be asked of the cluster itself."""
    rule = {"ResourceType": _TOPIC, "ResourceName": _ABSENT, "Principal": "User:absent", "Host": "*", "Operation": 3}
    creation = rule | {"ResourcePatternType": 3, "PermissionType": 2}
    chosen = {"ResourceTypeFilter": _TOPIC, "ResourceNameFilter": _ABSENT, "PatternTypeFilter": 3}
    chosen |= {"PrincipalFilter": None, "HostFilter": None, "Operation": 1, "PermissionType": 1}
    broker, change = {"ResourceType": _BROKER, "ResourceName": ""}, {"Name": "background.threads", "Value": "10"}
    yield Attempt("DescribeCluster", {"EndpointType": 1})
    yield Attempt("DescribeAcls", chosen)
    yield Attempt("CreateAcls", {"Creations": [creation]})
    yield Attempt("DeleteAcls", {"Filters": [chosen]})
    yield Attempt("DescribeConfigs", {"Resources": [broker]})
    yield Attempt("AlterConfigs", {"Resources": [broker | {"Configs": [change]}], "ValidateOnly": True})
    yield Attempt("IncrementalAlterConfigs", {"Resources": [broker | {"Configs": [change]}], "ValidateOnly": True})
    yield Attempt("ListConfigResources", {})
    yield Attempt("DescribeLogDirs", {"Topics": None})
    yield Attempt("ListPartitionReassignments", {"Topics": None, "TimeoutMs": 1000})
    yield Attempt("DescribeQuorum", {"Topics": [{"TopicName": "__cluster_metadata", "Partitions": [{}]}]})
    yield Attempt("UpdateFeatures", {"timeoutMs": 1000, "ValidateOnly": True})
    yield Attempt("InitProducerId", {"TransactionalId": None, "ProducerId": -1, "ProducerEpoch": -1})
    yield Attempt("FindCoordinator", {"KeyType": 2, "CoordinatorKeys": [f"{_ABSENT}:{_MEMBER}:0"]})
    yield Attempt("AddPartitionsToTxn", {"Transactions": [{"TransactionalId": _ABSENT, "ProducerId": 1}]})
    yield Attempt("RenewDelegationToken", {"Hmac": b"absent"})
    yield Attempt("ExpireDelegationToken", {"Hmac": b"absent"})
    yield Attempt("AddRaftVoter", {"TimeoutMs": 1000, "VoterId": 99})
    yield Attempt("RemoveRaftVoter", {"VoterId": 99})
    yield Attempt("UnregisterBroker", {"BrokerId": 99})
    yield Attempt("UnregisterController", {"ControllerId": 99})


def _produced(topic: Values) -> Values:
    return {
        "Acks": -1,
        "TimeoutMs": 1000,
        "TopicData": [topic | {"PartitionData": [{"Index": 0, "Records": _RECORDS}]}],
    }


def _fetched(topic: Values) -> Values:
    partition = {"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}
    return {"MaxBytes": 1000, "SessionEpoch": -1, "Topics": [topic | {"Partitions": [partition]}]}


def _share_fetched(group: str, topic: Topic) -> Values:
    partitions = {"TopicId": topic.id, "Partitions": [{"PartitionIndex": 0}]}
    return {"GroupId": group, "MemberId": _MEMBER, "MaxBytes": 1000, "MaxRecords": 1, "Topics": [partitions]}


def _acknowledged(topic: Topic) -> Values:
    batch = {"FirstOffset": 0, "LastOffset": 0, "AcknowledgeTypes": [1]}
    return {"TopicId": topic.id, "Partitions": [{"PartitionIndex": 0, "AcknowledgementBatches": [batch]}]}
