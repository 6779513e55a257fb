"""What is written for an event or a removal: decides key and bytes, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from fastavro import parse_schema, schemaless_writer

from bianhe.producers.keys import EntityKeys
from bianhe.producers.validation import InvalidEvent, Validator
from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_KINDS, EVENT_NAMES, Contract

VALUE_BYTES_MAX: Final = 1_000_000
"""What the router accepts of a source record (design 3.1)."""
CASE_CHARACTERS_MAX: Final = 64


class Record(NamedTuple):
    """A record for a source topic; a null value is a removal."""

    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider says beside the items: the event's id (UUIDv7), kind, time and the objection it answers."""

    id: str
    kind: str
    time: datetime
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns the items of one contract into records of its source topic."""

    contract: Contract
    schema_id: int
    keys: EntityKeys
    validate: Validator
    schema: Any

    @classmethod
    def of(cls, contract: Contract, schema_id: int, secret: bytes | None) -> Self:
        """Compile a contract; raises InvalidContract, or InvalidSecret if its keys need a secret and there is none."""
        keys = EntityKeys(contract.key, secret)
        schema = parse_schema(dict(contract.schema))
        return cls(contract, schema_id, keys, Validator.of(contract), schema)

    @property
    def topic(self) -> str:
        return names.source_topic(self.contract.resource, self.contract.version)

    def event(self, items: Mapping[str, Any], event: Event, today: date) -> Record:
        """The record of an event; raises InvalidEvent where contract, key or size forbid it."""
        _check_event(event)
        self.validate(items)
        key = self.keys.key(items, today)
        out = BytesIO()
        fields = dict(zip(EVENT_NAMES, (event.id, event.kind, event.time, event.case), strict=True))
        schemaless_writer(out, self.schema, {**fields, **items})
        value = wire.frame(self.schema_id, out.getvalue())
        if len(value) > VALUE_BYTES_MAX:
            raise InvalidEvent("event", f"{len(value)} bytes, at most {VALUE_BYTES_MAX}")
        return Record(key, value)

    def removal(self, natural: str | Mapping[str, Any], today: date) -> Record:
        """The record that removes an entity, given its natural key: the item's value, or the key items by name."""
        key_items = self.contract.key.items
        if isinstance(natural, str):
            if len(key_items) != 1:
                raise InvalidEvent(key_items[0], f"name all of {', '.join(key_items)}")
            natural = {key_items[0]: natural}
        for name in key_items:
            self.validate.one(name, natural.get(name))
        return Record(self.keys.key(natural, today), None)


def uuid7(millis: int, randomness: bytes) -> str:
    """A UUIDv7 (RFC 9562 §5.7) from milliseconds since 1970 and 10 random bytes."""
    number = millis << 80 | int.from_bytes(randomness, "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def _check_event(event: Event) -> None:
    if event.kind not in EVENT_KINDS:
        raise InvalidEvent("event_kind", f"is none of {', '.join(EVENT_KINDS)}")
    if event.time.tzinfo is None:
        raise InvalidEvent("event_time", "has no offset from UTC")
    if event.case is not None and not (0 < len(event.case) <= CASE_CHARACTERS_MAX and event.case.isprintable()):
        raise InvalidEvent("event_case", f"must be 1 to {CASE_CHARACTERS_MAX} printable characters")
    try:
        version = UUID(event.id).version
    except ValueError:
        version = None
    if version != 7 or len(event.id) != 36:
        raise InvalidEvent("event_id", "is no UUID of version 7")
