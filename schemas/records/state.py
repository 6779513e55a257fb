"""Records of `bus.router-state`: how far sources and views are routed, what stands still, what writers acknowledge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zlib import crc32

from bianhe.schemas.records import codec

STATE_PARTITIONS: Final = 16
POSITION_PARTITIONS: Final = 8
_WORKER_PREFIX: Final = "worker/"
_STANDSTILL: Final = "standstill"
_MANIFEST: Final = "manifest"


@dataclass(frozen=True, slots=True)
class Position:
    position: int
    policy_version: int

    def encode(self) -> bytes:
        return codec.encode("position", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> Position:
        return cls(**codec.decode("position", value))


@dataclass(frozen=True, slots=True)
class ViewPosition:
    begin: int
    seq: int
    position: int
    cut: bool
    joined: bool
    """Whether it goes with the live flow; before that, its own position counts."""

    def encode(self) -> bytes:
        return codec.encode("view-position", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> ViewPosition:
        return cls(**codec.decode("view-position", value))


@dataclass(frozen=True, slots=True)
class Standstill:
    """Where a source partition stands, because too much of it would be quarantined."""

    position: int
    quarantined: int

    def encode(self) -> bytes:
        return codec.encode("standstill", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> Standstill:
        return cls(**codec.decode("standstill", value))

    def holds(self, position: int, released: int) -> bool:
        """Whether a partition at this position may not go on, where all before `released` may be quarantined."""
        return self.position == position and released <= position


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the first load of a view gave from one source partition, written when it was over."""

    grant: str
    """Hash of the grant, empty for an open channel."""
    begin: int
    entities: int
    """How many stood when the view began."""
    records: int
    """How many of them the view let in; they have the first numbers."""
    policy_version: int

    def encode(self) -> bytes:
        return codec.encode("manifest", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> Manifest:
        return cls(**codec.decode("manifest", value))


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    policy_version: int
    fenced: bool = False
    """Whether the writer was shut out, and the registry says it for whoever has its id next."""

    def encode(self) -> bytes:
        return codec.encode("acknowledgement", codec.fields(self))

    @classmethod
    def decode(cls, value: bytes) -> Acknowledgement:
        return cls(**codec.decode("acknowledgement", value))


def position_key(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"


def standstill_key(topic: str, partition: int) -> str:
    """In the state partition of its source partition's own position."""
    return f"{_STANDSTILL}/{topic}/{partition}"


def manifest_key(topic: str, partition: int, view: str) -> str:
    """In the state partition of its source partition's own position."""
    return f"{_MANIFEST}/{topic}/{partition}/{view}"


def view_key(topic: str, partition: int, view: str) -> str:
    return f"{topic}/{partition}/{view}"


def worker_key(transactional_id: str) -> str:
    return f"{_WORKER_PREFIX}{transactional_id}"


def position_partition(topic: str, partition: int) -> int:
    """The partition of the state topic that holds a source partition's records."""
    return crc32(position_key(topic, partition).encode()) % POSITION_PARTITIONS


def worker_partition(transactional_id: str) -> int:
    """The partition of a writer's acknowledgement, apart from positions.

    Another writer's open transaction in the same partition would hide it from `read_committed` readers.
    """
    number = transactional_id.rpartition(".")[2]
    slot = int(number) if number.isdigit() else crc32(transactional_id.encode())
    return POSITION_PARTITIONS + slot % (STATE_PARTITIONS - POSITION_PARTITIONS)
