"""The requests that librdkafka lacks, or answers wrongly.

Quotas, the cluster's clock, fencing a transactional id and leaving a group as a static member it does not have. Asked
for access rules by an account that may not look, it returns an empty list; asked for accounts, it kills the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kafka.errors import for_code  # type: ignore[import-untyped]
from kafka.protocol.admin import (  # type: ignore[import-untyped]
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ACLResourceType,
    AlterClientQuotasRequest,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest,
)
from kafka.protocol.consumer import LeaveGroupRequest  # type: ignore[import-untyped]
from kafka.protocol.metadata import FindCoordinatorRequest, MetadataRequest  # type: ignore[import-untyped]
from kafka.protocol.producer import InitProducerIdRequest  # type: ignore[import-untyped]

from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import PASSING, BrokerBusy, refused
from bianhe.infra.kafka.retry import patiently
from bianhe.infra.kafka.session import Message, Session, check_login

_ANY: Final = 1
_UNKNOWN_MEMBER: Final = 25
_TOPIC_REFUSED: Final = 29
_SPECIFIED: Final = 2
_RATES: Final = ("consumer_byte_rate", "producer_byte_rate")
_READ, _WRITE = _RATES
_OTHER_LIMITS: Final = ("request_percentage", "controller_mutation_rate")
_FINER: Final = ("user", "client-id")


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account may read and write, in bytes a second and per broker."""

    read: float
    write: float


def access_rules(connection: Connection, principal: str | None = None) -> dict[int, frozenset[AccessRule]]:
    """Every access rule, or those of one principal, as each broker by its node id knows them.

    Raises RefusedByBroker without CLUSTER DESCRIBE.
    """
    brokers = sorted(check_login(connection).items())
    return {node: _access_rules_of(connection, address, principal) for node, address in brokers}


def accounts(connection: Connection) -> frozenset[str]:
    """The accounts that can log in (SCRAM). Without CLUSTER DESCRIBE no answer comes at all: BrokerUnreachable."""
    with Session(connection) as session:
        answer = session.ask(DescribeUserScramCredentialsRequest[0](users=None))
        _check(answer.error_code, "listing accounts", connection)
        return frozenset(result.user for result in answer.results)


def quotas(connection: Connection) -> dict[str | None, Quota]:
    """The quotas of accounts; None is the default for those that have none of their own."""
    found: dict[str | None, Quota] = {}
    with Session(connection) as session:
        users = DescribeClientQuotasRequest.ComponentData(entity_type="user", match_type=_SPECIFIED, match=None)
        answer = session.ask(DescribeClientQuotasRequest[1](components=[users], strict=True))
        _check(answer.error_code, "listing quotas", connection)
        for entry in answer.entries or ():
            rates = {value.key: value.value for value in entry.values}
            if _READ in rates or _WRITE in rates:
                found[entry.entity[0].entity_name] = Quota(rates.get(_READ, 0.0), rates.get(_WRITE, 0.0))
    return found


def finer_quotas(connection: Connection) -> frozenset[tuple[str | None, str | None]]:
    """The accounts and client ids that have a quota together (None: any), which Kafka prefers to the account's own."""
    parts = [
        DescribeClientQuotasRequest.ComponentData(entity_type=kind, match_type=_SPECIFIED, match=None)
        for kind in _FINER
    ]
    with Session(connection) as session:
        answer = session.ask(DescribeClientQuotasRequest[1](components=parts, strict=True))
    _check(answer.error_code, "listing quotas", connection)
    found = [{part.entity_type: part.entity_name for part in entry.entity} for entry in answer.entries or ()]
    return frozenset((names[_FINER[0]], names[_FINER[1]]) for names in found)


def remove_finer_quota(connection: Connection, account: str | None, client_id: str | None) -> None:
    """Remove all that limits, or frees, an account with this client id."""
    kind = AlterClientQuotasRequest.EntryData
    entity = [
        kind.EntityData(entity_type=part, entity_name=name)
        for part, name in zip(_FINER, (account, client_id), strict=True)
    ]
    ops = [kind.OpData(key=key, value=0.0, remove=True) for key in (*_RATES, *_OTHER_LIMITS)]
    with Session(connection) as session:
        answer = session.ask(AlterClientQuotasRequest[1](entries=[kind(entity=entity, ops=ops)], validate_only=False))
    _check(answer.entries[0].error_code, "removing quotas", connection)


def set_quotas(connection: Connection, changes: Mapping[str | None, Quota | None]) -> None:
    """Give accounts quotas (None as account: the default; None as quota: its removal)."""
    if not changes:
        return
    kind = AlterClientQuotasRequest.EntryData
    entries = [
        kind(entity=[kind.EntityData(entity_type="user", entity_name=account)], ops=_operations(quota))
        for account, quota in changes.items()
    ]
    with Session(connection) as session:
        answer = session.ask(AlterClientQuotasRequest[1](entries=entries, validate_only=False))
    for entry in answer.entries:
        _check(entry.error_code, "setting quotas", connection)


def sees_topic(connection: Connection, topic: str) -> dict[int, bool]:
    """Whether each broker, by its node id, lets this account see a topic or learn that there is none."""
    wanted = [MetadataRequest.MetadataRequestTopic(name=topic)]
    seen = {}
    for node, address in sorted(check_login(connection).items()):
        with Session(connection, (address,)) as session:
            answer = session.ask(MetadataRequest[9](topics=wanted, allow_auto_topic_creation=False))
        seen[node] = answer.topics[0].error_code != _TOPIC_REFUSED
    return seen


def cluster_time(connection: Connection) -> float:
    """The present time by the clock of the cluster's controller, in seconds since 1970.

    The leader of the metadata log gives its own clock as the time of its last fetch (KIP-836).
    """
    topic = DescribeQuorumRequest.TopicData
    partition = topic.PartitionData(partition_index=0)
    with Session(connection) as session:
        request = DescribeQuorumRequest[1](topics=[topic(topic_name="__cluster_metadata", partitions=[partition])])
        answer = session.ask(request)
    _check(answer.error_code, "asking for the cluster's time", connection)
    (log,) = answer.topics[0].partitions
    _check(log.error_code, "asking for the cluster's time", connection)
    leader = next(replica for replica in log.current_voters if replica.replica_id == log.leader_id)
    return float(leader.last_fetch_timestamp) / 1000


def fence(connection: Connection, transactional_id: str, transaction_timeout: float, timeout: float = 30.0) -> int:
    """Shut out whoever writes under a transactional id, abort what it left open, and return the new epoch.

    Whatever it sends afterwards is refused (KIP-98). Needs TRANSACTIONAL_ID WRITE. `transaction_timeout`, in
    seconds, is the one that the id's owner uses.
    """
    doing = f"fencing {transactional_id}"

    def attempt() -> int:
        request = InitProducerIdRequest[4](
            transactional_id=transactional_id, transaction_timeout_ms=int(transaction_timeout * 1000)
        )
        answer = _ask_coordinator(connection, "transaction", transactional_id, request, doing)
        _check(answer.error_code, doing, connection)
        return int(answer.producer_epoch)

    return patiently(attempt, timeout)


def leave_group(connection: Connection, group: str, instance: str, timeout: float = 5.0) -> bool:
    """Take a static member out of its group at once, as closing its client does not. False if it was not in it."""
    doing = f"leaving group {group}"

    def attempt() -> bool:
        member = LeaveGroupRequest.MemberIdentity(member_id="", group_instance_id=instance)
        request = LeaveGroupRequest[4](group_id=group, members=[member])
        answer = _ask_coordinator(connection, "group", group, request, doing)
        _check(answer.error_code, doing, connection)
        code = answer.members[0].error_code
        if code == _UNKNOWN_MEMBER:
            return False
        _check(code, doing, connection)
        return True

    return patiently(attempt, timeout)


def _access_rules_of(connection: Connection, address: str, principal: str | None) -> frozenset[AccessRule]:
    request = DescribeAclsRequest[2](
        resource_type_filter=_ANY,
        resource_name_filter=None,
        pattern_type_filter=_ANY,
        principal_filter=principal,
        host_filter=None,
        operation=_ANY,
        permission_type=_ANY,
    )
    with Session(connection, (address,)) as session:
        answer = session.ask(request)
    _check(answer.error_code, "listing access rules", connection)
    return frozenset(
        AccessRule(
            principal=acl.principal,
            resource_type=_name(ACLResourceType, resource.resource_type),
            name=resource.resource_name,
            operation=_name(ACLOperation, acl.operation),
            pattern=_name(ACLResourcePatternType, resource.pattern_type),
            permission=_name(ACLPermissionType, acl.permission_type),
            host=acl.host,
        )
        for resource in answer.resources
        for acl in resource.acls
    )


def _name(kinds: Message, code: int) -> str:
    """Kafka's name of a code; newer brokers may know codes that the protocol classes do not."""
    try:
        return str(kinds(code).name)
    except ValueError:
        return str(code)


def _operations(quota: Quota | None) -> list[Message]:
    rates = {_READ: quota.read, _WRITE: quota.write} if quota else dict.fromkeys((_READ, _WRITE), 0.0)
    kind = AlterClientQuotasRequest.EntryData.OpData
    return [kind(key=key, value=value, remove=quota is None) for key, value in rates.items()]


def _ask_coordinator(
    connection: Connection, kind: Literal["group", "transaction"], key: str, request: Message, doing: str
) -> Message:
    with Session(connection) as session:
        find = FindCoordinatorRequest[4](key_type=1 if kind == "transaction" else 0, coordinator_keys=[key])
        (found,) = session.ask(find).coordinators
    _check(found.error_code, doing, connection)
    with Session(connection, (f"{found.host}:{found.port}",)) as session:
        return session.ask(request)


def _check(code: int, doing: str, connection: Connection) -> None:
    if code == 0:
        return
    name = str(for_code(code).message)
    if name in PASSING:
        raise BrokerBusy(f"{doing}: {name}", name, cure="try again")
    raise refused(name, doing, connection.account)
