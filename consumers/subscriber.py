"""What a subscriber makes of delivered records: events, and the proof that none is missing, doubled or misdirected."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any, Final, NamedTuple, Self

from fastavro import parse_schema, schemaless_reader

from bianhe.schemas import names, wire
from bianhe.schemas.contract import EVENT_NAMES
from bianhe.schemas.errors import Fatal, Rejected

COMPACTION_LAG_MILLIS: Final = 7 * 24 * 60 * 60 * 1000
"""How long a delivery topic keeps every record (design 3.1)."""

_BUS_NAMES: Final = ("bus_offset", "bus_seq", "bus_policy")
_TELL: Final = "stop reading and tell the administrator of the bus"
_NULL_KINDS: Final = {b"removed": "REMOVED", b"retracted": "RETRACTED", b"erased": "ERASED"}

Place = tuple[str, int]
"""A topic and one of its partitions."""


class Misaddressed(Fatal):
    """A record of another department, or of no delivery topic."""


class DeliveryLost(Fatal):
    """A record that the bus addressed to this department did not arrive."""


class DeliveryDoubled(Fatal):
    """A record arrived twice, or after one that follows it."""


class UnreadableDelivery(Fatal):
    """A delivered record is not what the bus delivers."""


class NothingGranted(Rejected):
    """There is no topic that this account may read."""


class Event(NamedTuple):
    """One delivered event. Where `removed` is true there are no items: keep no record of the entity any more.

    `kind` is CREATED, CHANGED, CANCELLED, CORRECTED or SNAPSHOT, and for what is removed REMOVED (the provider keeps no
    record), RETRACTED (the entity left the row rule) or ERASED. `id`, `time` and `case` are None there.
    """

    resource: str
    key: str
    kind: str
    items: Mapping[str, Any]
    id: str | None
    time: datetime | None
    case: str | None
    source_offset: int
    seq: int
    policy: int
    topic: str
    partition: int
    offset: int

    def __repr__(self) -> str:
        """Where it lies; what it says is for no log."""
        return f"Event({self.kind}, {self.topic} {self.partition}:{self.offset}, seq={self.seq})"

    @property
    def removed(self) -> bool:
        return self.kind in _NULL_KINDS.values()

    @property
    def retracted(self) -> bool:
        return self.kind == "RETRACTED"

    @property
    def erased(self) -> bool:
        return self.kind == "ERASED"


class Delivery(NamedTuple):
    """A record as Kafka handed it out; `append_millis` is the broker's time."""

    topic: str
    partition: int
    offset: int
    append_millis: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """Builds events of the records that one department is sent; `schema_text` gives a schema by its id."""

    department: str
    schema_text: Callable[[int], str]
    _schemas: dict[bytes, Any] = field(default_factory=dict)
    """By the head of a record."""
    _resources: dict[str, str] = field(default_factory=dict)
    """By topic."""

    def event(self, delivery: Delivery) -> Event:
        """The event of a record; raises Misaddressed or UnreadableDelivery."""
        topic, partition, offset, _, key, value, headers = delivery
        resource = self._resources.get(topic)
        if resource is None:
            resource = self._resources[topic] = resource_of(topic, self.department)
        if key is None:
            raise UnreadableDelivery(f"{topic} {partition}:{offset} has no key")
        try:
            fields = _null(headers) if value is None else self._record(value)
            take = fields.pop
            source_offset, seq, policy = take("bus_offset"), take("bus_seq"), take("bus_policy")
            id, kind, time, case = take("event_id"), take("event_kind"), take("event_time"), take("event_case")
            return Event(
                resource,
                key.decode(),
                kind,
                fields,
                id,
                time,
                case,
                source_offset,
                seq,
                policy,
                topic,
                partition,
                offset,
            )
        except (ValueError, KeyError, IndexError, EOFError, wire.Malformed) as error:
            place = f"{topic} {partition}:{offset}"
            raise UnreadableDelivery(f"{place} is no delivery: {type(error).__name__}") from error

    def _record(self, value: bytes) -> dict[str, Any]:
        head = value[: wire.HEAD_BYTES]
        schema = self._schemas.get(head)
        if schema is None:
            schema_id, _ = wire.unframe(value)
            schema = self._schemas[head] = parse_schema(json.loads(self.schema_text(schema_id)))
        stream = BytesIO(value)
        stream.seek(wire.HEAD_BYTES)
        fields = schemaless_reader(stream, schema, None)
        if not isinstance(fields, dict) or stream.tell() != len(value):
            raise wire.Malformed(wire.Reason.TRAILING, stream.tell())
        return fields


def _null(headers: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: int(headers[name]) for name in _BUS_NAMES}
    return dict.fromkeys(EVENT_NAMES) | numbers | {"event_kind": _NULL_KINDS[headers["bus_kind"]]}


def resource_of(topic: str, department: str) -> str:
    """The resource that a delivery topic carries; raises Misaddressed if it is not for this department."""
    match names.parse_topic(topic):
        case names.OpenTopic(resource=resource):
            return resource
        case names.Mailbox(department=addressee, resource=resource) if addressee == department:
            return resource
    raise Misaddressed(
        f"{topic} is not addressed to {department}",
        cause="an access rule that no grant carries lets this account read it",
        cure="tell the administrator; bianhe sync plan shows the rule",
    )


def topics_to_read(visible: frozenset[str], department: str, resources: frozenset[str] | None) -> frozenset[str]:
    """Of the topics an account may see, those that deliver to it; raises NothingGranted or Misaddressed.

    A provider sees its own source topics too; they are no deliveries.
    """
    delivering = {topic for topic in visible if isinstance(names.parse_topic(topic), names.OpenTopic | names.Mailbox)}
    chosen = frozenset(
        topic
        for topic in delivering
        if (name := resource_of(topic, department)) and (not resources or name in resources)
    )
    served = {resource_of(topic, department) for topic in chosen}
    if not chosen or (resources and not resources <= served):
        wanted = ", ".join(sorted((resources or set()) - served)) or "anything"
        raise NothingGranted(
            f"department {department} may not read {wanted}",
            cause="it holds no grant, the grant has ended, or its access rule is not yet on the cluster",
            cure="ask the administrator of the bus, who sees the grants (bianhe grant list) and takes applications",
        )
    return chosen


class Last(NamedTuple):
    """The last record seen of a partition; as text it is the metadata of the committed position."""

    seq: int
    append_millis: int

    def __str__(self) -> str:
        return f"{self.seq} {self.append_millis}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read it back; None where another client committed the position."""
        parts = (text or "").split(" ")
        return cls(int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdecimal, parts)) else None


class Sequence:
    """Checks that `bus_seq` goes on without gap or double in each partition (law 3).

    A gap is a loss where the record before it is younger than the compaction lag. Where that is older, what is missing
    may have been compacted away and the answer is unknown: the sequence goes on from there. So does it at the first
    record seen of a partition, unless that is the first record of all, which has number 1.
    """

    def __init__(self) -> None:
        self._last: dict[Place, Last] = {}

    def start(self, place: Place, last: Last | None) -> None:
        """Begin a partition after a record seen by an earlier session, or anew."""
        if last is None:
            self._last.pop(place, None)
        else:
            self._last[place] = last

    def last(self, place: Place) -> Last | None:
        return self._last.get(place)

    def check(self, event: Event, append_millis: int, now_millis: int) -> None:
        """Note a record; raises DeliveryLost or DeliveryDoubled, and then notes nothing."""
        place, seq = (event.topic, event.partition), event.seq
        last = self._last.get(place)
        if last is None:
            if event.offset == 0 and seq != 1:
                raise DeliveryLost(f"the first record of {_where(event)} has number {seq}, must be 1", cure=_TELL)
        elif seq <= last.seq:
            raise DeliveryDoubled(f"number {seq} came after {last.seq} in {_where(event)}", cure=_TELL)
        elif seq > last.seq + 1 and now_millis - last.append_millis < COMPACTION_LAG_MILLIS:
            missing = f"{last.seq + 1} to {seq - 1}" if seq > last.seq + 2 else str(last.seq + 1)
            raise DeliveryLost(f"number {missing} is missing before {_where(event)}", cure=_TELL)
        self._last[place] = Last(seq, append_millis)


def _where(event: Event) -> str:
    return f"{event.topic}, partition {event.partition}, offset {event.offset}"
