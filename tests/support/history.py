"""A bus made up record by record: what a right router would have written, worked out by brute force from the source.

It shares no code with router or checker: whether a view holds an entity is asked of all records before, each time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from typing import Any

import fastavro
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bianhe.consumers.checker.log import Entry, Extent, Marker, Place, Rule

SOURCE, OPEN = "source.people.v1", "open.people.v1.r1"
FILTERED, MASKED = "grant.renshe.people.v1.g-2026-0001", "grant.tongji.people.v1.g-2026-0002"
CONTRACT_ID, PSEUDONYM_KEY = 100, bytes(range(32))
RELAY_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STOP_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
POLICY_KEYS = "".join(
    f'{role} = ["{key.public_key().public_bytes_raw().hex()}"]\n'
    for role, key in (("relay", RELAY_KEY), ("break-glass", STOP_KEY))
)
KIND = {"type": "enum", "name": "EventKind", "symbols": ["CREATED", "CHANGED", "CANCELLED", "CORRECTED", "SNAPSHOT"]}
EVENT = [
    {"name": "event_id", "type": "string"},
    {"name": "event_kind", "type": KIND},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "event_case", "type": ["null", "string"]},
]
ITEMS: Mapping[str, Any] = {
    "name": "string",
    "division": ["null", "string"],
    "born": {"type": "int", "logicalType": "date"},
    "level": "int",
    "phone": ["null", "string"],
}
BUS = [{"name": name, "type": "long"} for name in ("bus_offset", "bus_seq", "bus_policy")]
DAY = 86_400_000
START = 20_000 * DAY


def schema_of(items: Mapping[str, Any], head: Sequence[Any] = ()) -> Any:
    """A record schema: `head`, the event's fields, then these items."""
    fields = [*head, *EVENT, *({"name": name, "type": kind} for name, kind in items.items())]
    return {"type": "record", "name": "Person", "fields": fields}


def framed(schema_id: int, schema: Any, record: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def parsed(items: Mapping[str, Any], head: Sequence[Any] = ()) -> Any:
    return fastavro.parse_schema(schema_of(items, head))


@dataclass(frozen=True)
class Cut:
    """One view by hand: its items with their types after masking, and what is in."""

    topic: str
    schema_id: int
    schema: Any
    items: tuple[str, ...]

    def lets_in(self, person: Mapping[str, Any]) -> bool:
        return self.topic != FILTERED or (person["division"] or "").startswith("41")

    def of(self, person: Mapping[str, Any]) -> dict[str, Any]:
        """The items of a person, masked."""
        shown = {name: person[name] for name in self.items}
        if self.topic == FILTERED:
            shown |= {"name": person["name"][:2], "born": date.fromordinal(719163 + person["born"]).year}
        if self.topic == MASKED:
            secret = hmac.digest(PSEUDONYM_KEY, b"G-2026-0002", "sha256")
            pseudonym = hmac.digest(secret, person["name"].encode(), "sha256").hex()[:32]
            shown |= {"name": pseudonym, "level": "some", "phone": None}
        return shown


CONTRACT = parsed(ITEMS)
VIEWS: Mapping[str, Cut] = {
    OPEN: Cut(OPEN, 101, parsed({k: ITEMS[k] for k in ("name", "division")}, BUS), ("name", "division")),
    FILTERED: Cut(
        FILTERED,
        102,
        parsed({"name": "string", "born": "int", "phone": ["null", "string"]}, BUS),
        ("name", "born", "phone"),
    ),
    MASKED: Cut(
        MASKED,
        103,
        parsed({"name": "string", "level": "string", "phone": ["null", "string"]}, BUS),
        ("name", "level", "phone"),
    ),
}
BOOKS = {
    name: (number, fastavro.parse_schema(json.loads(text)))
    for name, number, text in (
        (
            "journal",
            1,
            """{"type": "record", "name": "J", "fields": [{"name": "begin", "type": "long"},
            {"name": "end", "type": "long"}, {"name": "policy_version", "type": "long"},
            {"name": "quarantined", "type": "long"}, {"name": "views", "type": {"type": "array", "items":
            {"type": "record", "name": "V", "fields": [{"name": "topic", "type": "string"},
            {"name": "records", "type": "long"}, {"name": "kept_back", "type": "long"},
            {"name": "last_seq", "type": "long"}]}}}]}""",
        ),
        (
            "position",
            2,
            """{"type": "record", "name": "P", "fields": [{"name": "position", "type": "long"},
            {"name": "policy_version", "type": "long"}]}""",
        ),
        (
            "view",
            3,
            """{"type": "record", "name": "W", "fields": [{"name": "begin", "type": "long"},
            {"name": "seq", "type": "long"}, {"name": "position", "type": "long"},
            {"name": "cut", "type": "boolean"}, {"name": "joined", "type": "boolean"}]}""",
        ),
        (
            "quarantined",
            5,
            """{"type": "record", "name": "Q", "fields": [{"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"}, {"name": "offset", "type": "long"},
            {"name": "reason", "type": "string"}, {"name": "digest", "type": "string"},
            {"name": "size", "type": "long"}]}""",
        ),
        (
            "manifest",
            7,
            """{"type": "record", "name": "M", "fields": [{"name": "grant", "type": "string"},
            {"name": "begin", "type": "long"}, {"name": "entities", "type": "long"},
            {"name": "records", "type": "long"}, {"name": "policy_version", "type": "long"}]}""",
        ),
    )
}


def book(name: str, fields: Mapping[str, Any]) -> bytes:
    """A bus record in the wire format."""
    number, schema = BOOKS[name]
    return framed(number, schema, fields)


def unbook(name: str, value: bytes) -> dict[str, Any]:
    found = fastavro.schemaless_reader(BytesIO(value[5:]), BOOKS[name][1], None)
    assert isinstance(found, dict)
    return found


def signed(record: Mapping[str, Any]) -> bytes:
    """A policy record as the relay writes it, or break-glass a stop."""
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    key = STOP_KEY if record["body"]["kind"] == "stopped" else RELAY_KEY
    return rfc8785.dumps({**unsigned, "signature": key.sign(rfc8785.dumps(unsigned)).hex()})


@dataclass
class History:
    """A bus as a test can change it: the raw log of each partition as a list."""

    logs: dict[Place, list[Entry]] = field(default_factory=dict)
    rules: dict[int, frozenset[Rule]] = field(default_factory=dict)
    settled: bool = True
    starts: dict[Place, int] = field(default_factory=dict)

    @property
    def extents(self) -> Mapping[Place, Extent]:
        return {
            place: Extent(self.starts.get(place, 0), log[-1].offset + 1 if log else self.starts.get(place, 0))
            for place, log in self.logs.items()
        }

    def entries(self, place: Place) -> Iterator[Entry]:
        return (entry for entry in self.logs[place] if entry.offset >= self.starts.get(place, 0))

    def append(self, place: Place, entry: Entry) -> None:
        log = self.logs.setdefault(place, [])
        log.append(entry._replace(offset=len(log)))

    def renumber(self, place: Place) -> None:
        """After an insertion or removal: offsets as if it had always been so."""
        self.logs[place] = [entry._replace(offset=offset) for offset, entry in enumerate(self.logs[place])]


@dataclass(frozen=True)
class Written:
    """A source record as the toy router sees it; `person` None for a removal."""

    offset: int
    key: bytes
    millis: int
    sound: bool
    person: Mapping[str, Any] | None
    value: bytes | None


@dataclass
class Progress:
    """How far a view got in one partition."""

    begin: int
    seq: int = 0
    position: int = 0
    joined: bool = True
    cut: bool = False


class Made:
    """Writes a history, decision by decision; everything random comes from the seed."""

    def __init__(self, seed: int, partitions: int = 1, until_day: int = 40_000) -> None:
        self.chance = random.Random(seed)
        self.bus = History()
        self.partitions = partitions
        self.millis = START
        self.version = 0
        self._head = "0" * 64
        self._until_day = until_day
        self.until = (until_day + 1) * DAY - 8 * DAY // 24
        """When the term of the filtered view ends: with its last day in the city's time."""
        self.active: set[str] = set()
        self.suspended: set[str] = set()
        self.stop: tuple[str, str] | None = None
        self.stopped: set[str] = set()
        """What was fed and stands still by the stop."""
        self.sources: dict[int, list[Written]] = {number: [] for number in range(partitions)}
        self.ends = dict.fromkeys(range(partitions), 0)
        self.positions = dict.fromkeys(range(partitions), 0)
        self.views: dict[tuple[int, str], Progress] = {}
        self.digests: dict[str, str] = {}
        topics = [(SOURCE, partitions), (OPEN, partitions), ("bus.policy", 1), ("bus.journal", 1)]
        for topic, count in [*topics, ("bus.router-state", 1), ("bus.quarantine", 1)]:
            for number in range(count):
                self.bus.logs[topic, number] = []

    # The policy

    def decide(self, **body: Any) -> None:
        self.version += 1
        record: dict[str, Any] = {
            "number": self.version,
            "previous": self._head,
            "id": f"id-{self.version}",
            "at": "2026-11-22T00:00:00Z",
        }
        value = signed({**record, "body": body})
        self._head = hashlib.sha256(value).hexdigest()
        self.bus.append(("bus.policy", 0), Entry(0, self.millis, None, value))

    def open_city(self) -> None:
        self.decide(kind="writers", transactional_ids=["bus.router.0"])
        for code in ("gongan", "renshe", "tongji", "zhufang"):
            self.decide(kind="department", code=code, title=code, clients=["main"], enabled=True, bytes_per_second=1)
        contract = json.dumps(schema_of(ITEMS))
        names = {"code": "people", "provider": "gongan", "version": 1, "partitions": self.partitions}
        self.decide(kind="resource", erasure_days=30, schema_id=CONTRACT_ID, contract=contract, **names)
        view = json.dumps(schema_of({name: ITEMS[name] for name in ("name", "division")}, BUS))
        channel = {"resource": "people", "version": 1, "revision": 1, "topic": OPEN}
        self.decide(kind="open-channel", schema_id=101, view_schema=view, **channel)
        self.begin(OPEN)
        self.grant("G-2026-0003", "zhufang", ["name", "division"], OPEN)

    def grant(
        self, number: str, department: str, items: list[str], topic: str, masks: Sequence[str] = (), rule: bool = False
    ) -> None:
        parts = [mask.partition("=")[::2] for mask in masks]
        grant: dict[str, Any] = {
            "number": number,
            "department": department,
            "resource": "people",
            "version": 1,
            "items": items,
            "masks": [{"item": i, "kind": k.split(":")[0], "argument": k.partition(":")[2]} for i, k in parts],
            "row_rule": [{"item": "division", "operator": "prefix", "values": ["41"]}] if rule else [],
            "until": str(date.fromordinal(719163 + self._until_day)) if topic == FILTERED else "2099-12-31",
        }
        digest = self.digests[topic] = hashlib.sha256(rfc8785.dumps(grant)).hexdigest()
        schema_id = VIEWS[topic].schema_id
        self.decide(kind="granted", grant=grant, digest=digest, topic=topic, schema_id=schema_id, view_schema="")
        if topic != OPEN:
            for number_ in range(self.partitions):
                self.bus.logs[topic, number_] = []
            self.begin(topic)

    def grant_filtered(self) -> None:
        masks = ("name=first:2", "born=year")
        self.grant("G-2026-0001", "renshe", ["name", "born", "phone"], FILTERED, masks, rule=True)

    def grant_masked(self) -> None:
        masks = ("name=pseudonym", "level=constant:some", "phone=null")
        self.grant("G-2026-0002", "tongji", ["name", "level", "phone"], MASKED, masks)

    def begin(self, topic: str) -> None:
        self.active.add(topic)
        for number in range(self.partitions):
            here = self.positions[number]
            self.views[number, topic] = Progress(here, joined=here == 0)

    def revoke(self, topic: str, number: str) -> None:
        self.decide(kind="revoked", grant=number, ground="purpose-met", decided_by="x")
        self.active.discard(topic)
        self.suspended.discard(topic)
        self.stopped.discard(topic)
        edge = {str(n): len(self.bus.logs[topic, n]) for n in range(self.partitions)}
        self.decide(kind="effective", grant=number, edge=edge)

    def suspend(self, topic: str, number: str) -> None:
        """The view leaves the live flow where it is."""
        self.decide(kind="suspended", grant=number, ground="misuse", correct_by="2026-12-20", decided_by="x")
        self.suspended.add(topic)
        self._halt(topic)

    def _halt(self, topic: str) -> None:
        self.active.discard(topic)
        for partition in range(self.partitions):
            progress = self.views[partition, topic]
            if progress.joined:
                progress.joined, progress.position = False, self.positions[partition]

    def resume(self, topic: str, number: str) -> None:
        self.decide(kind="resumed", grant=number, decided_by="x")
        self.suspended.discard(topic)
        self.active.add(topic)

    def break_glass(self, target: str, code: str) -> None:
        """Stop the department of the filtered view, or the resource: what it feeds stands still where it is."""
        self.decide(kind="stopped", target=target, code=code, reason="x", decided_by="x")
        self.stop, self.stopped = (target, code), self.active & {FILTERED} if target == "department" else {*self.active}
        for topic in self.stopped:
            self._halt(topic)

    def lift(self) -> None:
        assert self.stop is not None
        target, code = self.stop
        self.decide(kind="lifted", target=target, code=code, decided_by="y")
        self.active |= self.stopped
        self.stop, self.stopped = None, set()

    # The source

    def publish(self, partition: int, kind: str) -> None:
        """One record of a kind: person, removal, rubbish, identity (a key that is somebody's) or aborted."""
        self.millis += self.chance.choice((0, 7, 1000))
        key = b"entity-%d" % self.chance.randrange(6)
        person = self._person()
        value: bytes | None = framed(CONTRACT_ID, CONTRACT, person)
        if kind == "removal":
            value = None
        elif kind == "rubbish":
            right = value or b""
            other_id = b"\0" + (999).to_bytes(4, "big") + right[5:]
            value = self.chance.choice((right[:-1], right + b"x", b"\1" + right[1:], other_id))
        elif kind == "identity":
            key = b"11010519491231002X"
        aborted = kind == "aborted"
        entry = Entry(0, self.millis, key, value, (), 90 if aborted else -1, 0, aborted)
        self.bus.append((SOURCE, partition), entry)
        offset = len(self.bus.logs[SOURCE, partition]) - 1
        if aborted:
            self.bus.append((SOURCE, partition), Entry(0, self.millis, b"", b"", (), 90, 0, True, Marker.ABORT))
        else:
            sound = kind in ("person", "removal")
            known = person if value is not None else None
            self.sources[partition].append(Written(offset, key, self.millis, sound, known, value))
        self.ends[partition] = offset + 1

    def _person(self) -> dict[str, Any]:
        return {
            "event_id": f"00000000-0000-7000-8000-{self.chance.randrange(10**12):012}",
            "event_kind": self.chance.choice(("CREATED", "CHANGED")),
            "event_time": self.millis,
            "event_case": self.chance.choice((None, "case")),
            "name": self.chance.choice(("王某某", "李模拟", "张某")),
            "division": self.chance.choice(("4102", "4103", "3301", None)),
            "born": self.chance.randrange(-5000, 15000),
            "level": self.chance.randrange(9),
            "phone": self.chance.choice((None, "000")),
        }
