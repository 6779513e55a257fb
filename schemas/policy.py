"""The fold of the policy log: what is in force at a policy version. Router, registry and sync read the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bianhe.schemas import names
from bianhe.schemas.grant import Grant
from bianhe.schemas.records.policy import (
    GENESIS,
    BrokenPolicyLog,
    Closed,
    Department,
    Effective,
    Granted,
    OpenChannel,
    PolicyRecord,
    Resource,
    Resumed,
    Revoked,
    Suspended,
    Writers,
)
from bianhe.schemas.records.receipt import Receipt


class GrantState(StrEnum):
    """Where a grant stands on the policy log."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKING = "revoking"
    EFFECTIVE = "effective"
    CLOSED = "closed"

    @property
    def ended(self) -> bool:
        """Whether it was revoked: there is no way back."""
        return self not in (GrantState.ACTIVE, GrantState.SUSPENDED)


class Moment(NamedTuple):
    """A record of the policy log: its number, and when what it says was decided."""

    version: int
    at: datetime


@dataclass(frozen=True, slots=True)
class GrantInForce:
    """A grant with its topic and state. While it is being revoked it keeps its access rules (design 3.5)."""

    granted: Granted
    state: GrantState = GrantState.ACTIVE
    reached: Mapping[GrantState, Moment] = field(default_factory=dict)
    """When it last came into each state."""
    suspension: Suspended | None = None
    revocation: Revoked | None = None
    edge: Mapping[int, int] = field(default_factory=dict)
    fenced: tuple[str, ...] = ()
    receipt: Receipt | None = None

    @property
    def grant(self) -> Grant:
        return self.granted.grant

    @property
    def topic(self) -> str:
        return self.granted.topic

    @property
    def has_mailbox(self) -> bool:
        return self.topic.startswith(names.GRANT_PREFIX)

    @property
    def readable(self) -> bool:
        """Whether its access rule stands. A suspended mailbox may be read: nothing is written to it."""
        if self.state is GrantState.SUSPENDED:
            return self.has_mailbox
        return self.state in (GrantState.ACTIVE, GrantState.REVOKING)

    def entering(self, state: GrantState, record: PolicyRecord) -> GrantInForce:
        """The same grant in another state, by a record of the log."""
        return replace(self, state=state, reached={**self.reached, state: Moment(record.number, record.at)})


@dataclass(frozen=True)
class Policy:
    """All that is in force at `version`, the number of the last record folded."""

    version: int = 0
    head: str = GENESIS
    writers: tuple[str, ...] = ()
    former_writers: frozenset[str] = frozenset()
    """Transactional ids that were writers once and are none now."""
    departments: Mapping[str, Department] = field(default_factory=dict)
    resources: Mapping[tuple[str, int], Resource] = field(default_factory=dict)
    """The present state of each resource, by code and version."""
    revisions: Mapping[tuple[str, int], tuple[Resource, ...]] = field(default_factory=dict)
    """Every contract that a record on the source topic may be written under, the first one first."""
    open_channels: Mapping[str, OpenChannel] = field(default_factory=dict)
    """Every open channel that ever was, by topic; the last revision of a resource is the one written."""
    grants: Mapping[str, GrantInForce] = field(default_factory=dict)

    def present_channel(self, resource: str, version: int) -> OpenChannel | None:
        """The open channel that is written now, None where the resource has no unconditional item."""
        revisions = [c for c in self.open_channels.values() if (c.resource, c.version) == (resource, version)]
        return max(revisions, key=lambda channel: channel.revision, default=None)


EMPTY: Final = Policy()


def fold(policy: Policy, records: Iterable[PolicyRecord]) -> Policy:
    """The policy after these records; raises BrokenPolicyLog where they do not follow it without hole or fork."""
    folded = _Folding(policy)
    for record in records:
        folded.take(record)
    return folded.policy()


class _Folding:
    """Copies the maps once for a batch of records, not once per record."""

    def __init__(self, policy: Policy) -> None:
        self._version, self._head = policy.version, policy.head
        self._writers, self._former_writers = policy.writers, policy.former_writers
        self._departments, self._resources = dict(policy.departments), dict(policy.resources)
        self._revisions = dict(policy.revisions)
        self._channels, self._grants = dict(policy.open_channels), dict(policy.grants)

    def take(self, record: PolicyRecord) -> None:
        if record.number != self._version + 1 or record.previous != self._head:
            raise BrokenPolicyLog(
                f"record {record.number} of the policy log does not follow record {self._version}",
                cause="the log was cut, forked or written by someone else",
                cure="stop the router and compare the log with a backup; nothing is routed until then",
            )
        self._version, self._head = record.number, record.hash
        match record.body:
            case Writers(transactional_ids=ids):
                self._former_writers = (self._former_writers | {*self._writers}) - {*ids}
                self._writers = ids
            case Department() as department:
                self._departments[department.code] = department
            case Resource() as resource:
                key = resource.code, resource.version
                self._resources[key] = resource
                earlier = (known for known in self._revisions.get(key, ()) if known.schema_id != resource.schema_id)
                self._revisions[key] = (*earlier, resource)
            case OpenChannel() as channel:
                self._channels[channel.topic] = channel
            case Granted() as granted:
                self._begin(granted)
            case Suspended() | Resumed() | Revoked() | Effective() | Closed():
                self._change(record)

    def _begin(self, granted: Granted) -> None:
        if granted.digest != granted.grant.digest:
            raise BrokenPolicyLog(f"{granted.grant.number} does not have the hash that its record names")
        if granted.grant.number in self._grants:
            raise BrokenPolicyLog(f"{granted.grant.number} is granted twice")
        self._grants[granted.grant.number] = GrantInForce(granted)

    def _change(self, record: PolicyRecord) -> None:
        """A grant comes into another state. What has ended stays ended, and each of its steps is taken once."""
        body = record.body
        assert isinstance(body, Suspended | Resumed | Revoked | Effective | Closed)
        number = body.receipt.grant if isinstance(body, Closed) else body.grant
        grant = self._known(number)
        match body:
            case Suspended() if not grant.state.ended:
                grant = replace(grant.entering(GrantState.SUSPENDED, record), suspension=body)
            case Resumed() if not grant.state.ended:
                grant = replace(grant.entering(GrantState.ACTIVE, record), suspension=None)
            case Revoked() if not grant.state.ended:
                grant = replace(grant.entering(GrantState.REVOKING, record), revocation=body)
            case Effective(edge=edge, fenced=fenced) if grant.state is GrantState.REVOKING:
                ends = {int(partition): end for partition, end in edge.items()}
                grant = replace(grant.entering(GrantState.EFFECTIVE, record), edge=ends, fenced=fenced)
            case Closed(receipt=receipt) if grant.state is GrantState.EFFECTIVE:
                grant = replace(grant.entering(GrantState.CLOSED, record), receipt=receipt)
            case _:
                pass
        self._grants[number] = grant

    def _known(self, number: str) -> GrantInForce:
        if number not in self._grants:
            raise BrokenPolicyLog(f"{number} ends but never began")
        return self._grants[number]

    def policy(self) -> Policy:
        return Policy(
            version=self._version,
            head=self._head,
            writers=self._writers,
            former_writers=self._former_writers,
            departments=MappingProxyType(self._departments),
            resources=MappingProxyType(self._resources),
            revisions=MappingProxyType(self._revisions),
            open_channels=MappingProxyType(self._channels),
            grants=MappingProxyType(self._grants),
        )
