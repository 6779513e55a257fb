"""What a revocation does next (design 3.5): acknowledged by every writer, then effective, then closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.desired import desired, reading_rule
from bianhe.schemas.policy import GrantState, Policy


class ClusterView(Protocol):
    """What the cluster and the outbox say at the moment of asking."""

    def acknowledged(self, writer: str) -> int:
        """The policy version that a writer has acknowledged, 0 if none."""
        ...

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        """The log end of each partition that there is; None while a transaction is open on any."""
        ...

    def is_effective_decided(self, grant: str) -> bool:
        """Whether the outbox already holds the record that the grant's edge is known."""
        ...

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        """Whether each broker, by its node id, still knows an access rule; all must answer."""
        ...


@dataclass(frozen=True, slots=True)
class WaitForLog:
    """The relay has yet to bring a decided record onto the policy log."""


@dataclass(frozen=True, slots=True)
class WaitForWriters:
    version: int
    late: tuple[str, ...]
    writers: int


@dataclass(frozen=True, slots=True)
class WaitForEnds:
    topic: str


@dataclass(frozen=True, slots=True)
class MarkEffective:
    """Decide that nothing of the grant lies at or after these log ends; none where its topic is an open channel."""

    version: int
    writers: int
    edge: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Close:
    rule: AccessRule
    edge: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Closed:
    edge: Mapping[int, int]
    brokers: int


Step = WaitForLog | WaitForWriters | WaitForEnds | MarkEffective | Close | Closed


def next_step(policy: Policy, number: str, seen: ClusterView) -> Step:
    """What the revocation of a grant does next, given the policy log and what the cluster says now.

    The same inputs give the same step, so a revocation that was cut off resumes by asking again.
    """
    grant = policy.grants.get(number)
    if grant is None or not grant.state.ended:
        return WaitForLog()
    if grant.state is not GrantState.REVOKING:
        rule = reading_rule(grant)
        knowing = seen.brokers_with(rule)
        # Another grant of the same department may still carry the same open channel.
        if any(knowing.values()) and rule not in desired(policy).rules:
            return Close(rule, grant.edge)
        return Closed(grant.edge, len(knowing))
    if seen.is_effective_decided(number):
        return WaitForLog()
    version = grant.reached[GrantState.REVOKING].version
    if grant.topic in policy.open_channels:
        return MarkEffective(version, 0, {})
    if late := tuple(writer for writer in policy.writers if seen.acknowledged(writer) < version):
        return WaitForWriters(version, late, len(policy.writers))
    ends = seen.stable_ends(grant.topic)
    if ends is None or len(ends) < policy.resources[grant.grant.resource, grant.grant.version].partitions:
        return WaitForEnds(grant.topic)
    return MarkEffective(version, len(policy.writers), ends)


def line(step: Step) -> str:
    """A step as a person follows it."""
    match step:
        case WaitForLog():
            return "revoking   waits for the relay"
        case WaitForWriters(version, late, writers):
            return f"revoking   policy {version} · {writers - len(late)} of {writers} writers acknowledged"
        case WaitForEnds(topic):
            return f"revoking   waits until nothing is pending on {topic}"
        case MarkEffective(version, writers, edge) if edge:
            return f"revoking   policy {version} · {writers} of {writers} writers acknowledged"
        case MarkEffective(version):
            return f"revoking   policy {version} · an open channel has no last offset"
        case Close(_, edge) if edge:
            ends = " ".join(f"{partition}:{end}" for partition, end in sorted(edge.items()))
            return f"effective  nothing at or after {ends}"
        case Close():
            return "effective  with its access rule: an open channel goes on for others"
        case Closed(edge, brokers):
            waiting = "" if edge else "; a fetch that waited already may still get one answer"
            return f"closed     access rules gone on {brokers} of {brokers} brokers{waiting}"


def obstacle(step: Step, number: str) -> tuple[str, str]:
    """What keeps a revocation waiting in a step, as cause and cure."""
    match step:
        case WaitForWriters(_, late, _):
            return (
                f"writer {', '.join(late)} has not acknowledged",
                f"start it, then bianhe grant revoke {number} again",
            )
        case WaitForEnds(topic):
            return (
                f"{topic} is not there, or a transaction is open on it",
                f"bianhe sync apply, then bianhe grant revoke {number} again",
            )
        case _:
            return "the relay does not run", f"start it (bianhe up), then bianhe grant revoke {number} again"
