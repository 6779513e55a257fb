"""Records of `bus.journal` and `bus.quarantine`: what was routed, and what could not be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bianhe.schemas.records import codec


@dataclass(frozen=True, slots=True)
class ViewEntry:
    """One delivery topic's share of a transaction."""

    topic: str
    records: int
    kept_back: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What one transaction routed of one source partition, from position `begin` to before `end`."""

    begin: int
    end: int
    policy_version: int
    quarantined: int
    views: Sequence[ViewEntry]

    def encode(self) -> bytes:
        return codec.encode(
            "journal-entry", codec.fields(self) | {"views": [codec.fields(view) for view in self.views]}
        )

    @classmethod
    def decode(cls, value: bytes) -> JournalEntry:
        fields = codec.decode("journal-entry", value)
        return cls(**{**fields, "views": tuple(ViewEntry(**view) for view in fields["views"])})


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An event set aside: coordinates, reason and digest, no payload."""

    topic: str
    partition: int
    offset: int
    reason: str
    digest: str
    size: int

    def encode(self) -> bytes:
        return codec.encode("quarantined", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> Quarantined:
        return cls(**codec.decode("quarantined", value))
