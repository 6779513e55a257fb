"""A subscriber's own check finds whatever is wrong with what it was sent, and never calls valid what it cannot see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bianhe.consumers.subscriber import COMPACTION_LAG_MILLIS, Event
from bianhe.consumers.verification.judgement import FirstLoad, Told, Verdict, Verification

TOLD = Told(6, 10, "hash", FirstLoad("hash", 10, 4, 3))
MAILBOX = "grant.renshe.population.v1.g-2026-0001"
NOW = 1_800_000_000_000
OLD = NOW - COMPACTION_LAG_MILLIS


@dataclass
class Sent:
    """Three records of a first load and three that came after it, as they should be."""

    events: list[Event]
    told: Told = TOLD
    schema_id: int = 9
    append_millis: int = NOW

    def age(self, gone: Event) -> None:
        """One is gone, and what is left was written long ago."""
        self.append_millis = OLD

    def change(self, number: int, **fields: Any) -> None:
        self.events[number - 1] = self.events[number - 1]._replace(**fields)


def sent() -> Sent:
    offsets = (2, 5, 8, 10, 13, 14)
    kinds = ["SNAPSHOT" if at < TOLD.begin else "CHANGED" for at in offsets]
    return Sent(
        [
            Event("population", "key", kind, {}, "i", None, None, at, seq, 4, MAILBOX, 0, seq - 1)
            for seq, (at, kind) in enumerate(zip(offsets, kinds, strict=True), 1)
        ]
    )


def judged(what: Sent) -> Verification:
    found = Verification(MAILBOX, 0, what.told, 9, NOW)
    for event in what.events:
        found.take(event, what.schema_id, what.append_millis)
    found.finish()
    return found


def test_what_is_as_it_should_be_is_valid() -> None:
    found = judged(sent())
    assert (found.verdict, found.records, found.last, found.unknown) == (Verdict.VALID, 6, 6, [])
    assert judged(Sent([], Told())).verdict is Verdict.VALID


WRONG: dict[str, Callable[[Sent], object]] = {
    "one is missing": lambda s: s.events.pop(3),
    "the first is missing": lambda s: s.events.__setitem__(slice(0, 2), [s.events[1]._replace(offset=0)]),
    "the last is missing": lambda s: s.events.pop(),
    "one came twice": lambda s: s.events.insert(4, s.events[3]),
    "two changed places": lambda s: s.events.__setitem__(slice(3, 5), [s.events[4], s.events[3]]),
    "one is of an earlier source record": lambda s: s.change(5, source_offset=10),
    "one was allowed by an older policy": lambda s: s.change(5, policy=3),
    "another schema": lambda s: setattr(s, "schema_id", 8),
    "what stood is no snapshot": lambda s: s.change(2, kind="CHANGED"),
    "the first load is longer than its manifest": lambda s: s.change(4, source_offset=9, kind="SNAPSHOT"),
    "the manifest is of another grant": lambda s: setattr(s, "told", replace(s.told, grant="other")),
    "the manifest is of another beginning": lambda s: setattr(s, "told", replace(s.told, begin=9)),
    "the manifest has more records than entities": lambda s: setattr(
        s, "told", replace(s.told, first_load=FirstLoad("hash", 10, 2, 3))
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_is_found(name: str) -> None:
    one = sent()
    WRONG[name](one)
    assert judged(one).verdict is Verdict.INVALID


UNSURE: dict[str, Callable[[Sent], object]] = {
    "some were compacted away": lambda s: s.age(s.events.pop(2)),
    "the first ones were compacted away": lambda s: s.events.__delitem__(slice(0, 2)),
    "the last removal was compacted away": lambda s: s.age(s.events.pop()),
    "all was withdrawn": lambda s: s.events.clear(),
    "the first load is under way": lambda s: setattr(s, "told", replace(s.told, first_load=None)),
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_cannot_be_seen_is_never_valid(name: str) -> None:
    one = sent()
    UNSURE[name](one)
    assert judged(one).verdict is Verdict.UNKNOWN
