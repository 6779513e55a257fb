"""The fold of the policy log: what is in force at a policy version. Router, registry and sync read the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple

from immutables import Map

from bianhe.schemas import names
from bianhe.schemas.grant import Grant
from bianhe.schemas.records.policy import (
    GENESIS,
    BrokenPolicyLog,
    Closed,
    Department,
    Effective,
    Granted,
    Lifted,
    OpenChannel,
    PolicyRecord,
    Ratified,
    Released,
    Resource,
    Resumed,
    Revoked,
    Stopped,
    Suspended,
    Target,
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


ResourceKey = tuple[str, int]
"""Code and version of a resource."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A department or a resource that stands still by one person's word, until a second one lifts it."""

    stopped: Stopped
    since: Moment
    ratified: Ratified | None = None


@dataclass(frozen=True)
class Policy:
    """All that is in force at `version`, the number of the last record folded.

    Its maps share what did not change with those of the policy before, and have no order.
    """

    version: int = 0
    head: str = GENESIS
    writers: tuple[str, ...] = ()
    former_writers: frozenset[str] = frozenset()
    """Transactional ids that were writers once and are none now."""
    departments: Map[str, Department] = field(default_factory=Map)
    resources: Map[ResourceKey, Resource] = field(default_factory=Map)
    """The present state of each resource."""
    revisions: Map[ResourceKey, tuple[Resource, ...]] = field(default_factory=Map)
    """Every contract that a record on the source topic may be written under, the first one first."""
    open_channels: Map[str, OpenChannel] = field(default_factory=Map)
    """Every open channel that ever was, by topic."""
    present_channels: Map[ResourceKey, OpenChannel] = field(default_factory=Map)
    """The open channel that is written now, its last revision; none where a resource has no unconditional item."""
    grants: Map[str, GrantInForce] = field(default_factory=Map)
    mailboxes: Map[ResourceKey, Map[str, GrantInForce]] = field(default_factory=Map)
    """The grants of each resource that have a mailbox and have not ended."""
    stops: Map[tuple[Target, str], Stop] = field(default_factory=Map)
    released: Map[tuple[str, int], int] = field(default_factory=Map)
    """Before which offset of a source topic's partition all that is bad may be quarantined."""

    @cached_property
    def carriers(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """By topic and department: the grants by which it may be read, each of which alone keeps its access rule."""
        found: dict[tuple[str, str], list[str]] = {}
        for number, grant in self.grants.items():
            if grant.readable:
                found.setdefault((grant.topic, grant.grant.department), []).append(number)
        return {read: tuple(sorted(numbers)) for read, numbers in found.items()}

    def is_stopped(self, target: Target, code: str) -> bool:
        """Whether a department or a resource stands still."""
        return (target, code) in self.stops


EMPTY: Final = Policy()


def fold(policy: Policy, records: Iterable[PolicyRecord]) -> Policy:
    """The policy after these records; raises BrokenPolicyLog where they do not follow it without hole or fork."""
    folded = _Folding(policy)
    for record in records:
        folded.take(record)
    return folded.policy()


class _Folding:
    """Changes what the records touch, and copies nothing else."""

    def __init__(self, policy: Policy) -> None:
        self._version, self._head = policy.version, policy.head
        self._writers, self._former_writers = policy.writers, policy.former_writers
        self._departments, self._resources = policy.departments.mutate(), policy.resources.mutate()
        self._revisions = policy.revisions.mutate()
        self._channels, self._present = policy.open_channels.mutate(), policy.present_channels.mutate()
        self._grants, self._mailboxes = policy.grants.mutate(), policy.mailboxes.mutate()
        self._stops, self._released = policy.stops.mutate(), policy.released.mutate()

    def take(self, record: PolicyRecord) -> None:
        if record.number != self._version + 1 or record.previous != self._head:
            raise BrokenPolicyLog(
                f"record {record.number} of the policy log does not follow record {self._version}",
                cause="the log was cut, forked or written by someone else",
                cure="stop the router and compare the log with a backup; nothing is routed until then",
            )
        self._version, self._head = record.number, record.hash
        match record.body:
            case Granted() as granted:
                self._begin(granted)
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
                key = channel.resource, channel.version
                self._present[key] = max(channel, self._present.get(key, channel), key=lambda each: each.revision)
            case Suspended() | Resumed() | Revoked() | Effective() | Closed():
                self._change(record)
            case Stopped() | Ratified() | Lifted() as body:
                self._stop(record, body)
            case Released(resource=code, version=version, before=before):
                source = names.source_topic(code, version)
                self._released.update({(source, int(partition)): end for partition, end in before.items()})

    def _begin(self, granted: Granted) -> None:
        if granted.digest != granted.grant.digest:
            raise BrokenPolicyLog(f"{granted.grant.number} does not have the hash that its record names")
        if granted.grant.number in self._grants:
            raise BrokenPolicyLog(f"{granted.grant.number} is granted twice")
        self._put(GrantInForce(granted))

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
        self._put(grant)

    def _stop(self, record: PolicyRecord, body: Stopped | Ratified | Lifted) -> None:
        """Stopping twice, or lifting what is not stopped, changes nothing."""
        key = body.target, body.code
        standing = self._stops.get(key)
        match body:
            case Stopped() if standing is None:
                self._stops[key] = Stop(body, Moment(record.number, record.at))
            case Ratified() if standing is not None:
                self._stops[key] = replace(standing, ratified=body)
            case Lifted() if standing is not None:
                del self._stops[key]

    def _put(self, given: GrantInForce) -> None:
        number, key = given.grant.number, (given.grant.resource, given.grant.version)
        self._grants[number] = given
        if given.has_mailbox:
            mailboxes = self._mailboxes.get(key, Map[str, GrantInForce]())
            if not given.state.ended:
                self._mailboxes[key] = mailboxes.set(number, given)
            elif number in mailboxes:
                self._mailboxes[key] = mailboxes.delete(number)

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
            departments=self._departments.finish(),
            resources=self._resources.finish(),
            revisions=self._revisions.finish(),
            open_channels=self._channels.finish(),
            present_channels=self._present.finish(),
            grants=self._grants.finish(),
            mailboxes=self._mailboxes.finish(),
            stops=self._stops.finish(),
            released=self._released.finish(),
        )
