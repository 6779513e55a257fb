"""What the router wrote about its own work: journal, state and quarantine, as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any, Final, NamedTuple

from fastavro import parse_schema, schemaless_reader

from bianhe.consumers.checker.findings import Kind, Report
from bianhe.consumers.checker.log import Bus, Entry, Place, committed_of
from bianhe.schemas import names

JOURNAL_ENTRY: Final = "journal-entry"
POSITION: Final = "position"
VIEW_POSITION: Final = "view-position"
QUARANTINED: Final = "quarantined"
MANIFEST: Final = "manifest"
SCHEMA_IDS: Final[Mapping[str, int]] = {
    JOURNAL_ENTRY: 1,
    POSITION: 2,
    VIEW_POSITION: 3,
    QUARANTINED: 5,
    MANIFEST: 7,
}


@cache
def schema(name: str) -> Any:
    """The published schema of a bus record: a file that ships with the bus, no code of it."""
    text = (resources.files("bianhe.schemas") / "records" / f"{name}.avsc").read_text(encoding="utf-8")
    return parse_schema(json.loads(text))


def decode(name: str, value: bytes | None) -> dict[str, Any]:
    """The fields of a framed bus record; raises ValueError where it is no such record."""
    frame = b"\0" + SCHEMA_IDS[name].to_bytes(4, "big")
    if value is None or not value.startswith(frame):
        raise ValueError(f"no {name} record")
    try:
        found = schemaless_reader(stream := BytesIO(value[5:]), schema(name), None)
    except Exception as error:  # a decoder given hostile bytes may raise anything
        raise ValueError(f"no {name} record: {type(error).__name__}") from error
    if not isinstance(found, dict) or stream.read():
        raise ValueError(f"no {name} record")
    return found


class Share(NamedTuple):
    """What a journal entry says of one delivery topic."""

    records: int
    kept_back: int
    last_seq: int


class Range(NamedTuple):
    """A journal entry: the source offsets from `begin` to before `end`, routed in one transaction."""

    begin: int
    end: int
    version: int
    quarantined: int
    shares: Mapping[str, Share]
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Note:
    """A quarantined source record as the quarantine has it."""

    offset: int
    digest: str
    size: int


@dataclass
class Books:
    """Everything the router noted, by source partition."""

    ranges: dict[str, list[Range]] = field(default_factory=dict)
    """`<source>/<partition>` for the live flow, with `/<delivery topic>` behind it for a first load; in log order."""
    positions: dict[str, int] = field(default_factory=dict)
    views: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    manifests: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What ended the first load of a view, by the key of its state."""
    notes: dict[Place, dict[int, list[Note]]] = field(default_factory=dict)
    """By source partition and offset."""
    journal_cut: bool = False
    """Whether older journal entries are gone."""


def read_books(bus: Bus, report: Report) -> Books:
    """Read journal, state and quarantine; a record that cannot be read breaks atomicity."""
    books = Books()
    for entry, partition in _entries(bus, names.JOURNAL, books, report):
        _take(report, names.JOURNAL, partition, entry, _journal, books)
    for entry, partition in _entries(bus, names.ROUTER_STATE, books, report):
        _take(report, names.ROUTER_STATE, partition, entry, _state, books)
    for entry, partition in _entries(bus, names.QUARANTINE, books, report):
        _take(report, names.QUARANTINE, partition, entry, _quarantined, books)
    return books


def _entries(bus: Bus, topic: str, books: Books, report: Report) -> Iterator[tuple[Entry, int]]:
    for reading, committed in committed_of(bus, topic):
        for entry in committed:
            yield entry, reading.place[1]
        if reading.incomplete and topic == names.JOURNAL:
            books.journal_cut = True
        if reading.incomplete and topic != names.ROUTER_STATE:
            report.doubt(f"{topic}/{reading.place[1]} is not complete any more")


def _take(report: Report, topic: str, partition: int, entry: Entry, read: Any, books: Books) -> None:
    try:
        read(books, entry, partition)
    except ValueError as error:
        report.add(Kind.ATOMICITY, topic, partition, entry.offset, str(error))


def _key(entry: Entry) -> str:
    return (entry.key or b"").decode("utf-8", "replace")


def _journal(books: Books, entry: Entry, partition: int) -> None:
    found = decode(JOURNAL_ENTRY, entry.value)
    shares = {each["topic"]: Share(each["records"], each["kept_back"], each["last_seq"]) for each in found["views"]}
    numbers = (found["begin"], found["end"], found["policy_version"], found["quarantined"])
    books.ranges.setdefault(_key(entry), []).append(Range(*numbers, shares, partition, entry.offset))


def _state(books: Books, entry: Entry, partition: int) -> None:
    key = _key(entry)
    if key.startswith(("worker/", "standstill/")) or entry.value is None:
        return
    if key.startswith("manifest/"):
        books.manifests[key.removeprefix("manifest/")] = decode(MANIFEST, entry.value)
    elif key.count("/") == 1:
        books.positions[key] = decode(POSITION, entry.value)["position"]
    else:
        books.views[key] = decode(VIEW_POSITION, entry.value)


def _quarantined(books: Books, entry: Entry, partition: int) -> None:
    found = decode(QUARANTINED, entry.value)
    notes = books.notes.setdefault((found["topic"], found["partition"]), {})
    notes.setdefault(found["offset"], []).append(Note(entry.offset, found["digest"], found["size"]))
