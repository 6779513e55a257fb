"""What sync knows of a cluster: topics, access rules, accounts, quotas. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

ANY_HOST: Final = "*"


class ResourceKind(StrEnum):
    """What an access rule is about, by Kafka's names."""

    TOPIC = "TOPIC"
    GROUP = "GROUP"
    CLUSTER = "CLUSTER"
    TRANSACTIONAL_ID = "TRANSACTIONAL_ID"


class Pattern(StrEnum):
    """How the name of an access rule is read."""

    LITERAL = "LITERAL"
    PREFIXED = "PREFIXED"


class Effect(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """An ACL: one account may (or may not) do one operation on the things that carry a name.

    `operation` is Kafka's name, such as READ. `account` is `*` where the rule is for everybody. Kinds, patterns and
    effects are Kafka's names too: a cluster may hold some that the bus never makes.
    """

    account: str
    operation: str
    kind: str
    name: str
    pattern: str = Pattern.LITERAL
    effect: str = Effect.ALLOW
    host: str = ANY_HOST

    def __str__(self) -> str:
        kind = "" if self.kind == ResourceKind.TOPIC else f"{self.kind.lower().replace('_', ' ')} "
        ending = "…" if self.pattern == Pattern.PREFIXED else ""
        return f"{self.operation} {self.account} on {kind}{self.name}{ending}" + (
            f" from {self.host}" if self.host != ANY_HOST else ""
        )


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with the settings that differ from the broker's own; `reason` says what calls for it."""

    name: str
    partitions: int
    configs: Mapping[str, str]
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes per second that an account may send and receive, on each broker."""

    send: float
    receive: float

    @classmethod
    def both(cls, bytes_per_second: int) -> Quota:
        return cls(float(bytes_per_second), float(bytes_per_second))

    def __str__(self) -> str:
        if self.send == self.receive:
            return f"{self.send:,.0f} B/s each way"
        return f"send {self.send:,.0f} B/s, receive {self.receive:,.0f} B/s"


@dataclass(frozen=True)
class Actual:
    """What a cluster has now. `quotas` holds each account's own; None is the default of all others."""

    topics: Mapping[str, Topic]
    rules: frozenset[AccessRule]
    accounts: frozenset[str]
    quotas: Mapping[str | None, Quota]
    finer_quotas: frozenset[tuple[str | None, str | None]] = frozenset()
    """Accounts that have a quota with a client id, None meaning any; Kafka prefers it to the account's own."""
    subjects: frozenset[tuple[str, int]] | None = None
    """Subjects of the registry with the schema ids they have; None where the registry was not asked."""


@dataclass(frozen=True)
class Desired:
    """What the policy log calls for; each access rule and account with what calls for it."""

    topics: Mapping[str, Topic]
    rules: Mapping[AccessRule, str]
    accounts: Mapping[str, str]
    quotas: Mapping[str | None, Quota]
    ended: Mapping[AccessRule, str]
    """Access rules that a grant once carried, and that grant."""
    stopped: Mapping[AccessRule, str]
    """Access rules that would stand but for a stop, and what would carry them."""
    departments: frozenset[str]
    """Every department that was ever on the log, enabled or not: their accounts and groups are managed."""
    subjects: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Each subject and schema id that a topic's records may carry, with what calls for it."""
