"""What the checker found, how much it looked at, and what it says of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

FINDINGS_KEPT: Final = 1000
"""Of each kind; beyond that they are counted only."""


class Kind(StrEnum):
    """The judgements. A finding has the name of the judgement that it breaks."""

    LEAK = "leak"
    PROJECTION = "projection"
    DOUBLE = "double"
    MISSING = "missing"
    ORDER = "order"
    SEQUENCE = "sequence"
    VIEW = "view"
    ATOMICITY = "atomicity"
    VERSION = "version"
    EDGE = "edge"
    TIMELINE = "timeline"
    ACCESS = "access"
    QUARANTINE = "quarantine"


MEANINGS: Final = {
    Kind.LEAK: "nothing is delivered that no grant in force carries, in aborted transactions either",
    Kind.PROJECTION: "every delivery says exactly what its source record says, cut and masked",
    Kind.DOUBLE: "no source record is delivered twice through a view",
    Kind.MISSING: "nothing that a view had to get is missing",
    Kind.ORDER: "deliveries stand in the order of their source",
    Kind.SEQUENCE: "bus_seq counts from 1 without a hole",
    Kind.VIEW: "the same view of the same record is the same bytes everywhere",
    Kind.ATOMICITY: "deliveries, journal and state tell the same, transaction by transaction",
    Kind.VERSION: "bus_policy is the version that was in force",
    Kind.EDGE: "nothing of a revoked grant stands at or after its edge",
    Kind.TIMELINE: "the policy log is one signed chain without hole, double or fork",
    Kind.ACCESS: "every access rule is carried by a grant in force, a provider's part or the bus itself",
    Kind.QUARANTINE: "what is quarantined is bad, and what is bad is quarantined",
}


class Verdict(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken judgement and where it shows. `message` holds numbers and names, never a value of a record."""

    kind: Kind
    topic: str
    partition: int
    offset: int
    message: str

    def __str__(self) -> str:
        place = self.topic if self.partition < 0 else f"{self.topic}/{self.partition}@{self.offset}"
        return f"{self.kind}: {place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Floor:
    """How much must have been looked at for a verdict of valid."""

    policy_records: int = 1
    deliveries: int = 1


@dataclass
class Report:
    """The findings, the number of things each judgement looked at, and what could not be judged."""

    findings: list[Finding] = field(default_factory=list)
    found: Counter[Kind] = field(default_factory=Counter)
    checked: Counter[Kind] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)

    def add(self, kind: Kind, topic: str, partition: int, offset: int, message: str) -> None:
        self.extend([Finding(kind, topic, partition, offset, message)])

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.found[finding.kind] += 1
            if self.found[finding.kind] <= FINDINGS_KEPT:
                self.findings.append(finding)

    def include(self, part: Report) -> None:
        """Take over what another report says of a part of the whole."""
        counted = part.found.copy()
        self.extend(part.findings)
        self.found += counted - Counter(finding.kind for finding in part.findings)
        self.checked += part.checked
        for reason in part.unknown:
            self.doubt(reason)

    def doubt(self, reason: str) -> None:
        """Say what keeps the verdict from being valid though nothing wrong was found."""
        if reason not in self.unknown:
            self.unknown.append(reason)

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset(self.found)

    def hold_to(self, floor: Floor) -> None:
        """Doubt the whole where less was looked at than the floor demands."""
        for what, seen, least in (
            ("policy records", self.checked[Kind.TIMELINE], floor.policy_records),
            ("deliveries", self.checked[Kind.PROJECTION], floor.deliveries),
        ):
            if seen < least:
                self.doubt(f"{seen} {what} were checked, at least {least} must be")

    @property
    def verdict(self) -> Verdict:
        if self.found:
            return Verdict.INVALID
        return Verdict.UNKNOWN if self.unknown else Verdict.VALID
