"""What a revocation does next (design 3.5): acknowledged or fenced, effective, withdrawn, closed, and a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.desired import reading_rule
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import GrantInForce, GrantState, Policy
from bianhe.schemas.records.policy import Closed, Effective
from bianhe.schemas.records.receipt import Receipt

FENCE_SECONDS: Final = 3.0
"""A writer that says nothing for so long is shut out: more than twice the longest transaction, or healthy ones are."""


class ClusterView(Protocol):
    """What the cluster and the outbox say at the moment of asking."""

    def acknowledged(self, writer: str) -> int:
        """The policy version that a writer, or whoever fenced it, has acknowledged; 0 if none."""
        ...

    def waited(self, version: int) -> float:
        """For how many seconds this policy version has been seen on the log."""
        ...

    def fenced(self, writer: str) -> bool:
        """Whether it was shut out instead, and nobody has acknowledged a later version under its id."""
        ...

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        """The log end of each partition that there is; None while a transaction is open on any."""
        ...

    def starts(self, topic: str) -> Mapping[int, int]:
        """Where each partition begins."""
        ...

    def is_decided(self, kind: type[Effective | Closed], grant: str) -> bool:
        """Whether the outbox already holds this record of the grant."""
        ...

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        """Whether each broker, by its node id, still knows an access rule; all must answer."""
        ...

    def millis_without(self, rule: AccessRule) -> int:
        """For how long no broker has been seen to know an access rule."""
        ...

    def idle_millis(self) -> int:
        """How long an idle connection may live, on the broker that lets it live longest."""
        ...


@dataclass(frozen=True, slots=True)
class WaitForLog:
    """The relay has yet to bring a decided record onto the policy log."""


@dataclass(frozen=True, slots=True)
class WaitForWriters:
    version: int
    late: tuple[str, ...]
    writers: int
    doing: str = "revoking"


@dataclass(frozen=True, slots=True)
class Fence:
    """Shut these writers out, and acknowledge for them: what they left open is aborted, what they send is refused.

    Whoever has their ids next reads the policy log before it writes.
    """

    version: int
    writers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitForEnds:
    topic: str


@dataclass(frozen=True, slots=True)
class MarkEffective:
    """Decide that nothing of the grant lies at or after these log ends; none where its topic is an open channel."""

    version: int
    writers: int
    edge: Mapping[int, int]
    fenced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Delete what lies before the edge; the topic stays, empty."""

    topic: str
    edge: Mapping[int, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    rule: AccessRule
    edge: Mapping[int, int]
    seconds: float
    """From the decision until the edge was known."""


@dataclass(frozen=True, slots=True)
class WaitForFetches:
    """A fetch that waited at a broker when the access rule went still gets one answer, until its connection is cut."""

    millis: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Decide that nothing can be read any more, and give the receipt."""

    edge: Mapping[int, int]
    seconds: float
    brokers: tuple[int, ...]
    kept_for: tuple[str, ...] = ()
    waited_millis: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Open:
    """Let a department read its open channel again, under a grant that was resumed."""

    rule: AccessRule


@dataclass(frozen=True, slots=True)
class Settled:
    """A suspension or a resumption has taken effect."""

    state: GrantState
    version: int


Step = (
    WaitForLog
    | WaitForWriters
    | Fence
    | WaitForEnds
    | MarkEffective
    | Withdraw
    | Close
    | WaitForFetches
    | Finish
    | Done
    | Open
    | Settled
)


def next_step(policy: Policy, number: str, seen: ClusterView) -> Step:
    """What the end, suspension or resumption of a grant does next, given the policy log and what the cluster says now.

    Pure and total: the same inputs give the same step, so a revocation that was cut off resumes by asking again.
    """
    grant = policy.grants.get(number)
    if grant is None or (GrantState.SUSPENDED not in grant.reached and not grant.state.ended):
        return WaitForLog()
    if not grant.state.ended:
        return _settling(policy, grant, seen)
    if grant.receipt is not None:
        return Done(grant.receipt)
    if grant.state is GrantState.REVOKING:
        return _towards_edge(policy, grant, seen)
    return _towards_receipt(policy, grant, seen)


def on_their_way(policy: Policy) -> tuple[str, ...]:
    """The grants that `next_step` may have something to do for: ended without a receipt, or suspended at some time."""
    return tuple(
        number
        for number, each in policy.grants.items()
        if (each.receipt is None if each.state.ended else GrantState.SUSPENDED in each.reached)
    )


def in_turn(policy: Policy, look_at: Mapping[str, float], now: float) -> list[str]:
    """The grants to be looked at by now: those that are still written to first, then those that wait to be closed."""
    due = [number for number, at in look_at.items() if at <= now]
    return sorted(due, key=lambda number: (policy.grants[number].state is GrantState.EFFECTIVE, look_at[number]))


def expired(policy: Policy, millis: int) -> list[str]:
    """The grants whose term was over at this time, in milliseconds since 1970, and that nobody has ended."""
    today = datetime.fromtimestamp(millis / 1000, CITY_TIME).date()
    return sorted(n for n, each in policy.grants.items() if each.grant.until < today and not each.state.ended)


def _settling(policy: Policy, grant: GrantInForce, seen: ClusterView) -> Step:
    """A mailbox stands still when no writer fills it any more; an open channel, when it cannot be read."""
    suspended = grant.state is GrantState.SUSPENDED
    version = grant.reached[grant.state].version
    if grant.has_mailbox:
        waiting = silence(policy, version, seen, "suspending") if suspended else None
        return waiting or Settled(grant.state, version)
    rule = reading_rule(grant)
    knowing = seen.brokers_with(rule).values()
    if suspended and any(knowing) and not _carriers(policy, grant):
        return Close(rule, {}, 0)
    if not suspended and not all(knowing) and _carriers(policy, grant):
        return Open(rule)
    return Settled(grant.state, version)


def _towards_edge(policy: Policy, grant: GrantInForce, seen: ClusterView) -> Step:
    version = grant.reached[GrantState.REVOKING].version
    if seen.is_decided(Effective, grant.grant.number):
        return WaitForLog()
    if not grant.has_mailbox:
        return MarkEffective(version, 0, {})
    if waiting := silence(policy, version, seen):
        return waiting
    ends = seen.stable_ends(grant.topic)
    if ends is None or len(ends) < policy.resources[grant.grant.resource, grant.grant.version].partitions:
        return WaitForEnds(grant.topic)
    fenced = tuple(writer for writer in policy.writers if seen.fenced(writer))
    return MarkEffective(version, len(policy.writers), ends, fenced)


def silence(policy: Policy, version: int, seen: ClusterView, doing: str = "revoking") -> WaitForWriters | Fence | None:
    """How the writers come to follow a policy version; None when all do, or can write no more.

    One that is no writer any more must not write at all, so it is not waited for.
    """
    former = sorted(each for each in policy.former_writers if seen.acknowledged(each) < version)
    if former:
        return Fence(version, tuple(former))
    late = tuple(each for each in policy.writers if seen.acknowledged(each) < version)
    if not late:
        return None
    if seen.waited(version) > FENCE_SECONDS:
        return Fence(version, late)
    return WaitForWriters(version, late, len(policy.writers), doing)


def _towards_receipt(policy: Policy, grant: GrantInForce, seen: ClusterView) -> Step:
    if seen.is_decided(Closed, grant.grant.number):
        return WaitForLog()
    edge, rule = grant.edge, reading_rule(grant)
    seconds = (grant.reached[GrantState.EFFECTIVE].at - grant.reached[GrantState.REVOKING].at).total_seconds()
    if grant.revocation is not None and grant.revocation.withdraw and grant.has_mailbox:
        starts = seen.starts(grant.topic)
        if any(starts.get(partition, 0) < end for partition, end in edge.items()):
            return Withdraw(grant.topic, edge, seconds)
    if carriers := _carriers(policy, grant):
        return Finish(edge, seconds, (), carriers)
    knowing = seen.brokers_with(rule)
    if any(knowing.values()):
        return Close(rule, edge, seconds)
    if grant.has_mailbox:
        return Finish(edge, seconds, tuple(sorted(knowing)))
    limit = seen.idle_millis()
    if seen.millis_without(rule) < limit:
        return WaitForFetches(limit)
    return Finish(edge, seconds, tuple(sorted(knowing)), waited_millis=limit)


def _carriers(policy: Policy, grant: GrantInForce) -> tuple[str, ...]:
    """The grants by which the department may read the same topic: with one of them its access rule stays."""
    if grant.has_mailbox:  # which is its own alone
        return ()
    department = policy.departments.get(grant.grant.department)
    if department is None or not department.enabled:
        return ()
    return policy.carriers.get((grant.topic, grant.grant.department), ())
