"""A subscriber's own half of the check: what lies on its topics, held against what the registry says was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from bianhe.consumers.subscriber import COMPACTION_LAG_MILLIS, DeliveryDoubled, DeliveryLost, Event, Sequence

FINDINGS_KEPT: Final = 20
"""Of one partition."""


class Verdict(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """The manifest of a first load: of which grant it was, what stood before `begin`, how many records it had."""

    grant: str
    begin: int
    entities: int
    records: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the registry tells of one partition of a delivery topic."""

    seq: int = 0
    """The last `bus_seq` written."""
    begin: int = 0
    """Source offset at which the view began; where that is not 0, it has a first load."""
    grant: str = ""
    """Hash of the grant, as the decision letter names it; empty for an open channel."""
    first_load: FirstLoad | None = None

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Told:
        """From an object of the registry's answer."""
        manifest = answer["first_load"]
        first_load = FirstLoad(*(manifest[name] for name in FirstLoad.__slots__)) if manifest else None
        return cls(answer["seq"], answer["begin"], answer["grant"], first_load)


@dataclass
class Verification:
    """Takes every record of one partition in order, from the first that lies there; findings hold no value."""

    topic: str
    partition: int
    told: Told
    schema_id: int
    """The one that the registry has for this topic: a view never changes."""
    now_millis: int
    records: int = 0
    last: int = 0
    findings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sequence = Sequence()
        self._source_offset = -1
        self._policy = 0
        self._append_millis = 0

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return Verdict.INVALID
        return Verdict.UNKNOWN if self.unknown else Verdict.VALID

    def take(self, event: Event, schema_id: int | None, append_millis: int) -> None:
        """Judge the next record; `schema_id` is None where it has no value."""
        try:
            self._sequence.check(event, append_millis, self.now_millis)
        except (DeliveryLost, DeliveryDoubled) as error:
            self._found(str(error))
            self._sequence.start((self.topic, self.partition), None)
        if event.source_offset <= self._source_offset:
            self._found(f"number {event.seq} is of a source record that does not come after the one before")
        if event.policy < self._policy:
            self._found(f"number {event.seq} was allowed by policy {event.policy}, after {self._policy}")
        if schema_id not in (None, self.schema_id):
            self._found(f"number {event.seq} has schema id {schema_id}, the registry has {self.schema_id}")
        if event.source_offset < self.told.begin:
            self._judge_loaded(event)
        self.records += 1
        self.last, self._append_millis = event.seq, append_millis
        self._source_offset, self._policy = event.source_offset, event.policy

    def finish(self) -> None:
        """The present end is reached."""
        self._judge_end()
        self._judge_first_load()
        if self.records < self.last and not self.findings:
            self.unknown.append(f"{self.last - self.records} of {self.last} are not there any more")

    def _judge_loaded(self, event: Event) -> None:
        if event.kind != "SNAPSHOT":
            self._found(f"number {event.seq} stood when the view began and is no SNAPSHOT")
        if (manifest := self.told.first_load) is not None and event.seq > manifest.records:
            self._found(f"number {event.seq} is of the first load, which ended with {manifest.records}")

    def _judge_end(self) -> None:
        if self.last >= self.told.seq:
            return
        missing = f"number {self.last + 1} to {self.told.seq} were written and are not there"
        if self.records and self.now_millis - self._append_millis < COMPACTION_LAG_MILLIS:
            self._found(missing)
        else:
            self.unknown.append(f"{missing}: deleted, or compacted away")

    def _judge_first_load(self) -> None:
        told, manifest = self.told, self.told.first_load
        if manifest is None:
            if told.begin:
                self.unknown.append("the first load is not over")
            return
        if (manifest.grant, manifest.begin) != (told.grant, told.begin):
            self._found("the manifest of the first load is of another grant, or of another beginning")
        if manifest.records > min(manifest.entities, max(told.seq, self.last)):
            self._found(f"the manifest says {manifest.records} records of {manifest.entities} entities")

    def _found(self, message: str) -> None:
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(message)
