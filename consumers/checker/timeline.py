"""The policy log, folded by the checker's own code: which view was fed from which source under which version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Final

import rfc8785

from bianhe.consumers.checker.findings import Kind, Report
from bianhe.consumers.checker.log import Entry
from bianhe.schemas import names

FOR_EVER: Final = 2**63
_CITY: Final = timezone(timedelta(hours=8))
Document = Mapping[str, Any]


@dataclass(slots=True)
class Feed:
    """One delivery topic: what it may carry, of which source, and under which versions it was fed."""

    topic: str
    source: str
    schema_id: int
    grant: str
    """Number of the grant, empty for the open channel."""
    digest: str
    """Its hash, empty for the open channel."""
    items: frozenset[str]
    masks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Item to kind and argument."""
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    until: int = FOR_EVER
    """First millisecond after the term."""
    spans: list[list[int]] = field(default_factory=list)
    """From the first version to before the last one of each stretch in which it was fed."""
    halted: bool = False
    """Whether it stood still at some time, suspended or stopped."""
    edge: Mapping[int, int] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        return self.source.split(".")[1]

    def active(self, version: int) -> bool:
        return any(begin <= version < end for begin, end in self.spans)

    def stood_still(self, version: int) -> bool:
        """Whether it stood still then, and went on later."""
        return bool(self.spans) and self.spans[0][0] <= version < self.spans[-1][0] and not self.active(version)

    def turn(self, version: int, fed: bool) -> None:
        """From this version on it is fed, or it is not."""
        if fed and not self.active(version):
            self.spans.append([version, FOR_EVER])
        elif not fed and self.active(version):
            self.spans[-1][1] = version


@dataclass
class Timeline:
    """All that the log says, as far as it can be followed."""

    version: int = 0
    feeds: dict[str, Feed] = field(default_factory=dict)
    """By delivery topic."""
    contracts: dict[str, dict[int, tuple[int, Document]]] = field(default_factory=dict)
    """Source topic to schema id to the version that brought it and the contract."""
    providers: dict[str, str] = field(default_factory=dict)
    """Source topic to department."""
    departments: dict[str, Document] = field(default_factory=dict)
    readers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Number of a grant whose access rule stands, to department and topic."""
    standing: dict[str, str] = field(default_factory=dict)
    """Number of every grant, to the last of its records that counted."""
    given: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Number of every grant, to department and topic."""
    present: dict[str, str] = field(default_factory=dict)
    """Source topic to the open channel that is written now."""
    stopped: set[tuple[str, str]] = field(default_factory=set)
    """What stands still by break-glass: `department` or `resource`, and its code."""
    _latest: dict[tuple[str, int], Document] = field(default_factory=dict)

    def turn(self, version: int, feeds: Iterable[Feed]) -> None:
        """Feed these from this version on, or not, as the log says now."""
        for feed in feeds:
            department, _ = self.given.get(feed.grant, ("", ""))
            state = self.standing.get(feed.grant, "granted")
            ended = (
                state in ("revoked", "effective", "closed") if feed.grant else self.present[feed.source] != feed.topic
            )
            still = state == "suspended" or {("department", department), ("resource", feed.resource)} & self.stopped
            feed.halted |= bool(still) and not ended
            feed.turn(version, not still and not ended)

    def contract(self, source: str, version: int) -> Document:
        """The latest contract of a source under a version."""
        latest = self._latest.get((source, version))
        if latest is None:
            known = [(at, contract) for at, contract in self.contracts[source].values() if at <= version]
            latest = self._latest[source, version] = max(known, key=lambda pair: pair[0])[1]
        return latest


def follow(entries: Iterable[Entry], report: Report) -> Timeline:
    """Fold the committed records of the policy log; what breaks the chain is found, and the fold goes on behind it."""
    timeline = Timeline()
    previous, seen, numbers = "0" * 64, set[str](), set[int]()
    for entry in entries:
        report.checked[Kind.TIMELINE] += 1
        value = entry.value or b""
        try:
            record = json.loads(value)
            number, body, identity = int(record["number"]), record["body"], str(record["id"])
            canonical = rfc8785.dumps(record) == value
        except (ValueError, KeyError, TypeError):
            _broken(report, entry, "the record cannot be read")
            previous = hashlib.sha256(value).hexdigest()
            timeline.version += 1
            continue
        if not canonical:
            _broken(report, entry, f"record {number} is not canonical JSON")
        elif number != timeline.version + 1:
            _broken(report, entry, f"number {number} follows {timeline.version}")
        elif record["previous"] != previous:
            _broken(report, entry, f"record {number} does not name the hash of the one before")
        elif identity in seen:
            _broken(report, entry, f"record {number} repeats an earlier one")
        seen.add(identity)
        previous = hashlib.sha256(value).hexdigest()
        if number in numbers:
            continue
        numbers.add(number)
        timeline.version = max(timeline.version, number)
        try:
            _take(timeline, number, body, report)
        except (KeyError, TypeError, ValueError) as error:
            _broken(report, entry, f"record {number} cannot follow: {type(error).__name__} {error}")
    return timeline


def _broken(report: Report, entry: Entry, message: str) -> None:
    report.add(Kind.TIMELINE, names.POLICY, 0, entry.offset, message)


def _take(timeline: Timeline, number: int, body: Document, report: Report) -> None:
    match body["kind"]:
        case "writers":
            pass
        case "department":
            timeline.departments[body["code"]] = body
        case "resource":
            source = names.source_topic(body["code"], body["version"])
            timeline.providers[source] = body["provider"]
            known = timeline.contracts.setdefault(source, {})
            known[body["schema_id"]] = (number, json.loads(body["contract"]))
        case "open-channel":
            _open_channel(timeline, number, body)
        case "granted":
            _granted(timeline, number, body)
        case "suspended" | "resumed" | "revoked" | "effective" | "closed":
            _changed(timeline, number, body)
        case "stopped" | "lifted" as kind:
            stop = body["target"], body["code"]
            (timeline.stopped.add if kind == "stopped" else timeline.stopped.discard)(stop)
            timeline.turn(number, timeline.feeds.values())
        case "ratified" | "released":
            pass
        case kind:
            report.doubt(f"policy record {number} is of the kind {kind!r}, which the checker does not know")


def _open_channel(timeline: Timeline, number: int, body: Document) -> None:
    source = names.source_topic(body["resource"], body["version"])
    items = frozenset(
        each["name"]
        for each in json.loads(body["view_schema"])["fields"]
        if not each["name"].startswith(("bus_", "event_"))
    )
    timeline.feeds[body["topic"]] = Feed(body["topic"], source, body["schema_id"], "", "", items)
    timeline.present[source] = body["topic"]
    timeline.turn(number, [each for each in timeline.feeds.values() if each.source == source and not each.grant])


_FOLLOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "suspended": ("granted", "resumed", "suspended"),
    "resumed": ("granted", "resumed", "suspended"),
    "revoked": ("granted", "resumed", "suspended"),
    "effective": ("revoked",),
    "closed": ("effective",),
}
"""After which records of a grant another one counts: what has ended stays ended."""


def _changed(timeline: Timeline, number: int, body: Document) -> None:
    kind, grant = body["kind"], body["receipt"]["grant"] if body["kind"] == "closed" else body["grant"]
    given = timeline.given[grant]
    if timeline.standing[grant] not in _FOLLOWS[kind]:
        return
    timeline.standing[grant] = kind
    _, topic = given
    if not topic.startswith(names.GRANT_PREFIX):
        if kind in ("suspended", "effective"):
            timeline.readers.pop(grant, None)
        elif kind == "resumed":
            timeline.readers[grant] = given
        return
    feed = timeline.feeds[topic]
    timeline.turn(number, [feed])
    if kind == "effective":
        timeline.readers.pop(grant)
        feed.edge = {int(partition): offset for partition, offset in body["edge"].items()}


def _end(until: date) -> int:
    """The first millisecond after a last day; there is none after the calendar's own."""
    if until == date.max:
        return FOR_EVER
    return int(datetime.combine(until + timedelta(days=1), time.min, _CITY).timestamp()) * 1000


def _granted(timeline: Timeline, number: int, body: Document) -> None:
    grant, topic = body["grant"], body["topic"]
    if grant["number"] in timeline.given or (topic.startswith(names.GRANT_PREFIX) and topic in timeline.feeds):
        raise ValueError(f"{grant['number']} is granted twice")
    timeline.standing[grant["number"]] = "granted"
    timeline.given[grant["number"]] = timeline.readers[grant["number"]] = (grant["department"], topic)
    if topic.startswith(names.GRANT_PREFIX):
        timeline.feeds[topic] = Feed(
            topic,
            names.source_topic(grant["resource"], grant["version"]),
            body["schema_id"],
            grant["number"],
            body["digest"],
            frozenset(grant["items"]),
            {mask["item"]: (mask["kind"], mask["argument"]) for mask in grant["masks"]},
            tuple((each["item"], each["operator"], tuple(each["values"])) for each in grant["row_rule"]),
            _end(date.fromisoformat(grant["until"])),
        )
        timeline.turn(number, [timeline.feeds[topic]])
    if hashlib.sha256(rfc8785.dumps(grant)).hexdigest() != body["digest"]:
        raise ValueError(f"{grant['number']} does not have the hash that its record names")
