"""Single corruptions of a valid history, and the one kind of finding that each must give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import fastavro

from bianhe.consumers.checker.findings import Floor, Kind, Report
from bianhe.consumers.checker.judgement import check
from bianhe.consumers.checker.log import Entry, Marker, Place, Rule
from support.history import (
    DAY,
    FILTERED,
    MASKED,
    OPEN,
    POLICY_KEYS,
    PSEUDONYM_KEY,
    SOURCE,
    VIEWS,
    History,
    Made,
    Written,
    book,
    framed,
    signed,
    unbook,
)
from support.toy_router import announce, live, load, rules

JOURNAL, STATE, QUARANTINE, POLICY = (
    ("bus.journal", 0),
    ("bus.router-state", 0),
    ("bus.quarantine", 0),
    ("bus.policy", 0),
)
Record = dict[str, Any]
Change = Callable[["Subject"], None]


@cache
def whole() -> Made:
    """A history in which everything happens: aborts, a row rule, a first load, an ended term, a revocation."""
    made = Made(seed=11, until_day=20_000)
    made.open_city()
    made.grant_filtered()
    announce(made)

    def publish(count: int) -> None:
        for number in range(count):
            made.publish(0, "rubbish" if number % 9 == 5 else "removal" if number % 7 == 3 else "person")

    publish(30)
    made.publish(0, "aborted")
    live(made, 0, 8)
    live(made, 0, 6, aborted=True)
    live(made, 0, 100)
    made.grant_masked()
    announce(made)
    publish(6)
    live(made, 0, 3)
    load(made, 0, MASKED, 20, aborted=True)
    load(made, 0, MASKED, 20)
    load(made, 0, MASKED, 100)
    live(made, 0, 100)
    made.millis += DAY
    publish(12)
    live(made, 0, 100)
    made.revoke(MASKED, "G-2026-0002")
    publish(5)
    live(made, 0, 100)
    made.bus.rules = dict(rules({MASKED}))
    return made


@dataclass
class Subject:
    """A copy of the whole history, to be corrupted."""

    made: Made
    bus: History

    def log(self, place: Place) -> list[Entry]:
        return self.bus.logs[place]

    def data(self, place: Place) -> list[int]:
        """Where the committed records of a partition stand, markers and aborted ones left out."""
        found, group = [], list[int]()
        for index, entry in enumerate(self.log(place)):
            if entry.marker is None and entry.transactional:
                group.append(index)
            elif entry.marker is None:
                found.append(index)
            else:
                found += group if entry.marker is Marker.COMMIT else []
                group = []
        return found

    def pick(self, topic: str, wanted: Callable[[Entry, Record], bool] = lambda entry, record: True) -> int:
        """The middle one of the deliveries that have a value and are wanted."""
        place = (topic, 0)
        found = [
            index
            for index in self.data(place)
            if (entry := self.log(place)[index]).value is not None and wanted(entry, read(topic, entry))
        ]
        return found[len(found) // 2]

    def null(self, topic: str, kind: bytes) -> int:
        place = (topic, 0)
        return next(i for i in self.data(place) if dict(self.log(place)[i].headers).get("bus_kind") == kind)

    def drop(self, place: Place, index: int) -> None:
        del self.log(place)[index]
        self.bus.renumber(place)

    def insert(self, place: Place, index: int, entry: Entry) -> None:
        self.log(place).insert(index, entry)
        self.bus.renumber(place)

    def alter(self, place: Place, index: int, **changes: Any) -> None:
        self.log(place)[index] = self.log(place)[index]._replace(**changes)

    def rewrite(self, topic: str, index: int, **fields: Any) -> None:
        """Change fields of a delivery."""
        entry = self.log((topic, 0))[index]
        self.alter((topic, 0), index, value=write(topic, {**read(topic, entry), **fields}))

    def rebook(self, place: Place, name: str, index: int, change: Callable[[Record], None]) -> None:
        """Change fields of a journal, state or quarantine record."""
        fields = unbook(name, self.log(place)[index].value or b"")
        change(fields)
        self.alter(place, index, value=book(name, fields))

    def repolicy(self, index: int, change: Callable[[Record], None]) -> None:
        """Change a policy record; chain and sign anew all that follow it."""
        head = "0" * 64
        for number, entry in enumerate(self.log(POLICY)):
            record = json.loads(entry.value or b"")
            if number == index:
                change(record)
            record["previous"] = head
            value = signed(record)
            head = hashlib.sha256(value).hexdigest()
            self.alter(POLICY, number, value=value)

    def policy(self, kind: str) -> int:
        """Where the first policy record of a kind stands."""
        bodies = [json.loads(entry.value or b"")["body"] for entry in self.log(POLICY)]
        return next(index for index, body in enumerate(bodies) if body["kind"] == kind)

    def forge(self, topic: str, record: Written, schema_topic: str = "") -> tuple[int, Entry]:
        """A delivery that never was, and where it would stand; made of a source record."""
        place, shape = (topic, 0), schema_topic or topic
        before = [i for i in self.data(place) if source_offset(topic, self.log(place)[i]) < record.offset]
        last = self.log(place)[before[-1]]
        person = record.person or self.made.sources[0][0].person
        assert person is not None
        event = {name: person[name] for name in ("event_id", "event_kind", "event_time", "event_case")}
        bus = {"bus_offset": record.offset, "bus_seq": 1, "bus_policy": 8}
        value = framed(VIEWS[shape].schema_id, VIEWS[shape].schema, {**bus, **event, **VIEWS[shape].of(person)})
        return before[-1] + 1, last._replace(key=record.key, value=value, headers=())

    def written(self, wanted: Callable[[Written], bool]) -> Written:
        """The middle one of the source records that are wanted."""
        found = [record for record in self.made.sources[0] if 5 < record.offset < 30 and wanted(record)]
        return found[len(found) // 2]


def subject() -> Subject:
    made = whole()
    bus = History({place: list(log) for place, log in made.bus.logs.items()}, dict(made.bus.rules))
    return Subject(made, bus)


def judged(bus: History, floor: Floor | None = None) -> Report:
    """What the checker says, given the keys."""
    return check(bus, PSEUDONYM_KEY, floor, policy_keys=POLICY_KEYS)


def read(topic: str, entry: Entry) -> Record:
    found = fastavro.schemaless_reader(BytesIO((entry.value or b"")[5:]), plain(topic), None)
    assert isinstance(found, dict)
    return found


def write(topic: str, record: Mapping[str, Any]) -> bytes:
    return framed(VIEWS[topic].schema_id, plain(topic), record)


@cache
def plain(topic: str) -> Any:
    """The schema of a view without logical types, so that what is read can be written again."""
    text = json.dumps(VIEWS[topic].schema).replace('"__fastavro_parsed__": true', '"x": 0')
    schema = json.loads(text)
    for each in schema["fields"]:
        if isinstance(each["type"], dict) and "logicalType" in each["type"]:
            each["type"] = each["type"]["type"]
    return fastavro.parse_schema({"type": "record", "name": "Plain", "fields": schema["fields"]})


def source_offset(topic: str, entry: Entry) -> int:
    if entry.value is None:
        return int(dict(entry.headers)["bus_offset"])
    return int(read(topic, entry)["bus_offset"])


def wider(topic: str, entry: Entry) -> bytes:
    """The same delivery with one field more than was granted."""
    return (entry.value or b"") + b"\x04\x34"


def rule(change: Rule) -> Change:
    """One broker has one access rule too many."""

    def apply(subject: Subject) -> None:
        subject.bus.rules[2] = subject.bus.rules[2] | {change}

    return apply


ACCESS: Mapping[str, tuple[Change, Kind]] = {
    "a department reads a mailbox of another": (rule(Rule("renshe", "READ", "TOPIC", MASKED)), Kind.ACCESS),
    "an access rule outlives its grant": (rule(Rule("tongji", "READ", "TOPIC", MASKED)), Kind.ACCESS),
    "a stranger reads everything": (rule(Rule("*", "READ", "TOPIC", "grant.", "PREFIXED")), Kind.ACCESS),
    "a prefix instead of a name": (rule(Rule("renshe", "READ", "TOPIC", FILTERED, "PREFIXED")), Kind.ACCESS),
    "a subscriber writes a source": (rule(Rule("renshe", "WRITE", "TOPIC", SOURCE)), Kind.ACCESS),
    "a department writes a delivery topic": (rule(Rule("gongan", "WRITE", "TOPIC", OPEN)), Kind.ACCESS),
    "a group of another department": (rule(Rule("renshe", "READ", "GROUP", "tongji.main")), Kind.ACCESS),
    "the relay writes deliveries": (rule(Rule("bus-relay", "WRITE", "TOPIC", "grant.", "PREFIXED")), Kind.ACCESS),
    "a department alters the cluster": (rule(Rule("gongan", "ALTER", "CLUSTER", "kafka-cluster")), Kind.ACCESS),
}
