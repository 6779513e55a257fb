"""What is written for an event or a removal: decides key and bytes, sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from fastavro import parse_schema, schemaless_writer

from bianhe.producers.encoder import Encode, encoder
from bianhe.producers.keys import EntityKeys
from bianhe.producers.validation import InvalidEvent, Validator
from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_KINDS, EVENT_NAMES, Contract
from bianhe.schemas.walk import RANGES

try:
    from bianhe.producers._encoder import event_id
except ImportError:  # installed where no compiler was
    event_id = None  # type: ignore[assignment]

VALUE_BYTES_MAX: Final = 1_000_000
"""What the router accepts of a source record (design 3.1)."""
CASE_CHARACTERS_MAX: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = RANGES["timestamp-millis"]
_RANDOM_BYTES: Final = 10
"""In an event's id."""
_IDS_AT_ONCE: Final = 500
_KINDS: Final = {kind: wire.long(number) for number, kind in enumerate(EVENT_KINDS)}


class Record(NamedTuple):
    """A record for a source topic; a null value is a removal."""

    key: str
    value: bytes | None


class Event(NamedTuple):
    """What a provider says beside the items: the event's id (UUIDv7), kind, time and the objection it answers."""

    id: str
    kind: str
    time: datetime | None = None
    """None where it is the one in the id."""
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns the items of one contract into records of its source topic."""

    contract: Contract
    topic: str
    schema_id: int
    prefix: bytes
    """Of every value: the wire format's head, and how long an event's id is."""
    keys: EntityKeys
    validate: Validator
    encode: Encode
    schema: Any

    @classmethod
    def of(cls, contract: Contract, schema_id: int, secret: bytes | None) -> Self:
        """Compile a contract; raises InvalidContract, or InvalidSecret if its keys need a secret and there is none."""
        keys = EntityKeys(contract.key, secret)
        schema, validate = parse_schema(dict(contract.schema)), Validator.of(contract)
        topic, prefix = names.source_topic(contract.resource, contract.version), wire.frame(schema_id, wire.long(36))
        return cls(contract, topic, schema_id, prefix, keys, validate, encoder(contract, validate), schema)

    def event(self, items: Mapping[str, Any], event: Event, today: date) -> Record:
        """The record of an event; raises InvalidEvent where contract, key or size forbid it."""
        id, said, time, case = event
        kind, millis = _KINDS.get(said), None if time is None else _millis(time)
        # The characters of ids stand in the order of their times.
        timely = id < _ID_TOO_LATE if time is None else millis is not None
        if kind is not None and case is None and timely:
            value = self.encode(self.prefix, id, kind, millis, items)
            if value is not None and len(value) <= VALUE_BYTES_MAX:
                return Record(self.keys.key(items, today), value)
        return self._event_by_the_book(items, event, today)

    def _event_by_the_book(self, items: Mapping[str, Any], event: Event, today: date) -> Record:
        """One check after the other, to say what is wrong, or to encode what the quick way leaves to this one."""
        time = _checked(event)
        self.validate(items)
        key = self.keys.key(items, today)
        out = BytesIO()
        fields = dict(zip(EVENT_NAMES, (event.id, event.kind, time, event.case), strict=True))
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
    digits, chance = f"{millis:012x}", randomness.hex()
    variant = "89ab"[int(chance[4], 16) & 3]
    return f"{digits[:8]}-{digits[8:]}-7{chance[1:4]}-{variant}{chance[5:8]}-{chance[8:]}"


_ID_TOO_LATE: Final = uuid7(_LATEST + 1, bytes(_RANDOM_BYTES))


class EventIds:
    """Makes new event ids; `randomness` gives so many random bytes, and is asked once for many ids."""

    def __init__(self, randomness: Callable[[int], bytes]) -> None:
        self._randomness = randomness
        self._pool = b""
        self._at = 0

    def new(self, millis: int) -> str:
        """A UUIDv7 from milliseconds since 1970."""
        at = self._at
        if at == len(self._pool):
            self._pool, at = self._randomness(_IDS_AT_ONCE * _RANDOM_BYTES), 0
        self._at = at + _RANDOM_BYTES
        if event_id is None:
            return uuid7(millis, self._pool[at : self._at])
        return event_id(millis, self._pool, at)


def _millis(time: datetime) -> int | None:
    """Milliseconds since 1970; None where a time is wrong."""
    try:
        since = time - _EPOCH
    except TypeError:  # without an offset from UTC
        return None
    millis = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    return millis if _EARLIEST <= millis <= _LATEST else None


def _checked(event: Event) -> datetime:
    """The time of an event whose fields are right."""
    if event.kind not in EVENT_KINDS:
        raise InvalidEvent("event_kind", f"is none of {', '.join(EVENT_KINDS)}")
    if event.time is not None and _millis(event.time) is None:
        reason = "has no offset from UTC" if event.time.utcoffset() is None else "is not within the years 1 to 9999"
        raise InvalidEvent("event_time", reason)
    if event.case is not None and not (0 < len(event.case) <= CASE_CHARACTERS_MAX and event.case.isprintable()):
        raise InvalidEvent("event_case", f"must be 1 to {CASE_CHARACTERS_MAX} printable characters")
    try:
        made = UUID(event.id)
    except ValueError:
        made = None
    if made is None or made.version != 7 or len(event.id) != 36:
        raise InvalidEvent("event_id", "is no UUID of version 7")
    if event.time is not None:
        return event.time
    if made.int >> 80 > _LATEST:
        raise InvalidEvent("event_id", "its time is not within the years 1 to 9999")
    return _EPOCH + timedelta(milliseconds=made.int >> 80)
