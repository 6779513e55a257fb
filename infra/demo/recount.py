"""An independent recount: what every delivery topic must hold, from catalog, decisions and input rows alone.

It shares no code with router, slicer, view compiler or policy fold: masks, row rules, entity keys and partitions are
worked out here a second time, by their descriptions in the design. Rows are streamed; what is kept per topic are
numbers, one digest per partition over everything delivered there in order, and who is in where a row rule decides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from bianhe.schemas import names
from bianhe.schemas.errors import Rejected

Row = Mapping[str, str]
Pairs = tuple[tuple[str, Any], ...]

_EVENT: Final = ("event_id", "event_kind", "event_time", "event_case")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NULLS: Final = ("REMOVED", "RETRACTED", "ERASED")
_AS_THEY_ARE: Final = frozenset({str, int, type(None)})


class Unrecountable(Rejected):
    """A decision or contract that the recount does not understand: its numbers would mean nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An agreed application: masks as `item=year`, the row rule as `item prefix value and …`, as the file has them."""

    grant: str
    department: str
    resource: str
    items: tuple[str, ...]
    masks: tuple[str, ...] = ()
    row_rule: str = ""


def answers(
    sharing: Mapping[str, Any], catalog: Mapping[str, Any], numbers: Iterable[tuple[str, str, str]]
) -> list[Answer]:
    """The agreed applications of `sharing.toml`, with the numbers that the registry gave them in this order.

    `numbers` has grant, department and resource of each. Raises Unrecountable where they are not the file's.
    """
    free = {
        resource["code"]: [item["name"] for item in resource["items"] if item["sharing"] == "unconditional"]
        for resource in catalog["resource"]
    }
    agreed = [
        one for one in sharing["application"] if not one.get("withheld") and one.get("decision", {}).get("agree", True)
    ]
    found = []
    for one, (number, department, resource) in zip(agreed, numbers, strict=True):
        if (one["department"], one["resource"]) != (department, resource):
            raise Unrecountable(f"{number} is {department} on {resource}, not what the file says at its place")
        asked = free[resource] if one["items"] == "unconditional" else one["items"]
        decision = one.get("decision", {})
        rules = " and ".join(filter(None, (one.get("where", ""), decision.get("where", ""))))
        items = (*asked, *one.get("also", ()))
        found.append(Answer(number, department, resource, items, tuple(decision.get("masks", ())), rules))
    return found


class Arrived(Protocol):
    """A delivered event as a subscriber sees it."""

    @property
    def key(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def items(self) -> Mapping[str, Any]: ...
    @property
    def id(self) -> str | None: ...
    @property
    def time(self) -> datetime | None: ...
    @property
    def case(self) -> str | None: ...
    @property
    def source_offset(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def partition(self) -> int: ...


@dataclass(slots=True)
class Tally:
    """What a topic holds, or what a reader of it received. `kept_back` counts source events that it did not get."""

    delivered: int = 0
    retracted: int = 0
    removed: int = 0
    kept_back: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)

    @property
    def records(self) -> int:
        return self.delivered + self.retracted + self.removed

    def receive(self, event: Arrived) -> None:
        """Count an event that arrived, with the number and source offset that it carries."""
        pairs = tuple(
            [(name, value if type(value) in _AS_THEY_ARE else plain(value)) for name, value in event.items.items()]
        )
        millis = None if event.time is None else _millis(event.time)
        head = (event.seq, event.source_offset, event.key, event.kind, event.id, millis, event.case or None)
        self.note(event.partition, event.kind, repr((head, pairs)))

    def note(self, partition: int, kind: str, content: str) -> None:
        """Count one record; its content goes into the digest of its partition."""
        self.counts[partition] = self.counts.get(partition, 0) + 1
        digest = hashlib.blake2b(self.digests.get(partition, b"") + content.encode(), digest_size=16)
        self.digests[partition] = digest.digest()
        if kind == "RETRACTED":
            self.retracted += 1
        elif kind in _NULLS:
            self.removed += 1
        else:
            self.delivered += 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what the recount expects."""

    place: str
    what: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.place}: {self.what}: expected {self.expected}, found {self.found}"


def differences(place: str, expected: Tally, found: Tally) -> list[Difference]:
    """Everything in which what was received differs from what was to be received."""
    numbers = [
        Difference(place, what, getattr(expected, name), getattr(found, name))
        for name, what in (("delivered", "events"), ("retracted", "retractions"), ("removed", "removals"))
        if getattr(expected, name) != getattr(found, name)
    ]
    for partition in sorted(expected.digests.keys() | found.digests.keys()):
        wanted, got = (_state(tally, partition) for tally in (expected, found))
        if wanted != got:
            numbers.append(Difference(place, f"records and digest of partition {partition}", wanted, got))
    return numbers


def _state(tally: Tally, partition: int) -> str:
    return f"{tally.counts.get(partition, 0)} {tally.digests.get(partition, b'').hex() or '–'}"


class Recount:
    """Recounts one resource. `resource` is its table in the catalog file, `contract` its Avro schema as JSON.

    `key_secret` is the provider's, where the contract derives keys with one; `pseudonym_key` the routers'. Raises
    Unrecountable.
    """

    def __init__(
        self,
        resource: Mapping[str, Any],
        contract: Mapping[str, Any],
        answers: Iterable[Answer],
        key_secret: bytes | None = None,
        pseudonym_key: bytes = b"",
    ) -> None:
        self._partitions = int(resource["partitions"])
        self._key_items = tuple(contract["key"]["items"])
        self._key_secret = key_secret if contract["key"]["derivation"] == "hmac" else None
        if contract["key"]["derivation"] == "hmac" and key_secret is None:
            raise Unrecountable(f"{resource['code']}: the secret of its keys is missing")
        self._kinds = {f["name"]: _kind(f["type"]) for f in contract["fields"] if f["name"] not in _EVENT}
        self._offsets: dict[int, int] = {}
        self.rows = 0
        self._flows: dict[str, _Flow] = {}
        self.topic_of: dict[str, str] = {}
        """Grant number to topic."""
        code, version = resource["code"], int(resource["version"])
        free = tuple(i["name"] for i in resource["items"] if i["sharing"] == "unconditional")
        channel = names.open_topic(code, version, 1)
        if free:
            self._flows[channel] = _Flow(self._ordered(free), {}, (), b"")
        for answer in answers:
            if answer.resource != code:
                continue
            is_open = set(answer.items) == set(free) and not answer.masks and not answer.row_rule
            topic = channel if is_open else names.mailbox(answer.department, code, version, answer.grant)
            self.topic_of[answer.grant] = topic
            if not is_open:
                secret = hmac.digest(pseudonym_key, answer.grant.encode(), "sha256")
                masks = dict(_mask(text) for text in answer.masks)
                self._flows[topic] = _Flow(self._ordered(answer.items), masks, _rule(answer.row_rule), secret)

    @property
    def topics(self) -> Mapping[str, Tally]:
        """What each delivery topic must hold after the rows taken so far."""
        return {topic: flow.tally for topic, flow in self._flows.items()}

    def end(self, topic: str, counts: Mapping[int, int]) -> None:
        """Let a topic end after so many records in each partition: a revocation stopped it there."""
        self._flows[topic].ends = dict(counts)

    def take(self, row: Row) -> None:
        """Count one row of the input file, in the file's order."""
        self.rows += 1
        key = self.key(row)
        partition = partition_of(key, self._partitions)
        offset = self._offsets.get(partition, 0)
        self._offsets[partition] = offset + 1
        if row["event_kind"] == "REMOVED":
            for flow in self._flows.values():
                flow.remove(partition, offset, key)
            return
        values = {name: _value(kind, row[name]) for name, kind in self._kinds.items()}
        head = (row["event_kind"], row["event_id"], _millis(datetime.fromisoformat(row["event_time"])))
        for flow in self._flows.values():
            flow.deliver(partition, offset, key, (*head, row["event_case"] or None), values)

    def key(self, row: Row) -> str:
        """The entity key of a row (infra/docs/keys.md)."""
        if self._key_secret is None:
            return row[self._key_items[0]]
        capitals = {ord(small): small.upper() for small in "abcdefghijklmnopqrstuvwxyz"}
        parts = (unicodedata.normalize("NFKC", row[name]).strip(" ").translate(capitals) for name in self._key_items)
        digest = hmac.new(self._key_secret, "\x1f".join(parts).encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _ordered(self, items: Sequence[str]) -> tuple[str, ...]:
        if unknown := set(items) - self._kinds.keys():
            raise Unrecountable(f"items that the contract lacks: {', '.join(sorted(unknown))}")
        return tuple(name for name in self._kinds if name in items)


@dataclass(slots=True)
class _Flow:
    """One delivery topic: its items and masks, who is in, and what it holds so far."""

    items: tuple[str, ...]
    masks: Mapping[str, tuple[str, str]]
    rule: tuple[tuple[str, str, tuple[str, ...]], ...]
    secret: bytes
    tally: Tally = field(default_factory=Tally)
    inside: set[str] = field(default_factory=set)
    """The entities that the row rule has let in; empty where there is none."""
    ends: dict[int, int] | None = None

    def deliver(self, partition: int, offset: int, key: str, facts: tuple[Any, ...], values: Mapping[str, Any]) -> None:
        if self._ended(partition):
            return
        if not all(_holds(values[item], operator, wanted) for item, operator, wanted in self.rule):
            self.tally.kept_back += 1
            if key in self.inside:
                self.inside.remove(key)
                self._note(partition, offset, key, ("RETRACTED", None, None, None), ())
            return
        if self.rule:
            self.inside.add(key)
        pairs = tuple((item, self._masked(item, values[item])) for item in self.items)
        self._note(partition, offset, key, facts, pairs)

    def remove(self, partition: int, offset: int, key: str) -> None:
        if self._ended(partition):
            return
        if self.rule and key not in self.inside:
            self.tally.kept_back += 1
            return
        self.inside.discard(key)
        self._note(partition, offset, key, ("REMOVED", None, None, None), ())

    def _ended(self, partition: int) -> bool:
        return self.ends is not None and self.tally.counts.get(partition, 0) >= self.ends.get(partition, 0)

    def _note(self, partition: int, offset: int, key: str, facts: tuple[Any, ...], pairs: Pairs) -> None:
        seq = self.tally.counts.get(partition, 0) + 1
        self.tally.note(partition, facts[0], repr(((seq, offset, key, *facts), pairs)))

    def _masked(self, item: str, value: Any) -> Any:
        kind, argument = self.masks.get(item, ("", ""))
        if kind == "constant":
            return argument
        if not kind or value is None:
            return value
        match kind:
            case "null":
                return None
            case "first":
                return value[: int(argument)]
            case "year":
                return date.fromisoformat(value).year
            case "pseudonym":
                return hmac.digest(self.secret, value.encode(), "sha256").hex()[:32]
        raise Unrecountable(f"mask {kind!r} is not known")


def plain(value: Any) -> Any:
    """A decoded value in the form in which the input file's values are compared."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case Decimal():
            return _decimal(value)
        case float():
            return repr(value)
        case date():
            return value.isoformat()
    return value


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: murmur2 as Java's client has it, made positive, modulo the count."""
    data, word = key.encode(), 0xFFFFFFFF
    multiplier = 0x5BD1E995
    state = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        block = int.from_bytes(data[start : start + 4], "little") * multiplier & word
        block = (block ^ block >> 24) * multiplier & word
        state = state * multiplier & word ^ block
    if rest := data[whole:]:
        state = (state ^ int.from_bytes(rest, "little")) * multiplier & word
    state = (state ^ state >> 13) * multiplier & word
    return ((state ^ state >> 15) & 0x7FFFFFFF) % partitions


def _kind(avro: Any) -> str:
    if isinstance(avro, list):
        return _kind(next(branch for branch in avro if branch != "null"))
    return str(avro.get("logicalType") or avro["type"]) if isinstance(avro, dict) else str(avro)


def _value(kind: str, text: str) -> Any:
    if not text:
        return None
    match kind:
        case "int" | "long":
            return int(text)
        case "double" | "float":
            return repr(float(text))
        case "decimal":
            return _decimal(Decimal(text))
        case "bytes":
            return text.lower()
    return text


def _decimal(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _millis(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _mask(text: str) -> tuple[str, tuple[str, str]]:
    item, _, treatment = text.partition("=")
    kind, _, argument = treatment.partition(":")
    return item, (kind, argument)


def _rule(text: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    conditions = []
    for part in filter(None, re.split(r"\s+and\s+", text.strip())):
        found = re.fullmatch(r"(\w+)\s*(=|\bin\b|\bprefix\b)\s*(\S.*)", part)
        if found is None:
            raise Unrecountable(f"{part!r} is no condition")
        item, operator, values = found.groups()
        conditions.append((item, operator, tuple(values.split(",")) if operator == "in" else (values,)))
    return tuple(conditions)


def _holds(value: Any, operator: str, wanted: tuple[str, ...]) -> bool:
    if value is None:
        return False
    return str(value).startswith(wanted[0]) if operator == "prefix" else str(value) in wanted
