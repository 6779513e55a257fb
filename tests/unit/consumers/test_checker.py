"""The checker finds nothing where nothing is wrong, and does not say valid of what it could not see."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

import pytest

from bianhe.consumers.checker.batches import UnreadableBatch, entries
from bianhe.consumers.checker.findings import FINDINGS_KEPT, Floor, Kind, Report, Verdict
from bianhe.consumers.checker.judgement import check
from bianhe.consumers.checker.log import Entry, Marker, Outcome, Place, Reading
from support.history import FILTERED, MASKED, OPEN, PSEUDONYM_KEY, SOURCE, History, Made
from support.mutations import JOURNAL, POLICY, judged, subject
from support.toy_router import announce, live, load, random_history, rules

HISTORIES = 1000


def test_a_thousand_clean_histories_give_no_finding() -> None:
    verdicts: Counter[Verdict] = Counter()
    for seed in range(HISTORIES):
        report = judged(random_history(seed))
        assert report.findings == [], f"seed {seed}"
        verdicts[report.verdict] += 1
        assert all("at least" in reason for reason in report.unknown), f"seed {seed}"
    assert verdicts[Verdict.VALID] > 0.8 * HISTORIES


@pytest.mark.parametrize("place", [(SOURCE, 0), (OPEN, 0), (FILTERED, 0), JOURNAL, POLICY])
def test_what_lost_records_to_compaction_or_retention_is_unknown_never_valid(place: Place) -> None:
    middle, start = subject().bus, subject().bus
    del middle.logs[place][len(middle.logs[place]) // 2]
    start.starts[place] = 2
    for bus in (middle, start):
        report = judged(bus)
        assert report.verdict is not Verdict.VALID
        assert any("not complete" in reason for reason in report.unknown)


@pytest.mark.parametrize("place", [(SOURCE, 0), (OPEN, 0), (MASKED, 0)])
def test_compacted_deliveries_and_sources_give_no_false_finding(place: Place) -> None:
    bus = subject().bus
    last: dict[bytes | None, int] = {}
    for entry in bus.logs[place]:
        last[entry.key] = entry.offset
    tail = len(bus.logs[place]) - 4
    bus.logs[place] = [
        entry for entry in bus.logs[place] if entry.marker or entry.offset >= tail or last[entry.key] == entry.offset
    ]
    report = judged(bus)
    assert report.verdict is Verdict.UNKNOWN, report.findings


@pytest.mark.parametrize("place", [(OPEN, 0), (SOURCE, 0)])
def test_a_transaction_that_stays_open_is_unknown_and_where_is_told(place: Place) -> None:
    bus = subject().bus
    log = bus.logs[place]
    last = next(entry for entry in reversed(log) if entry.marker is None)
    log.append(last._replace(offset=log[-1].offset + 1, producer=4711, transactional=True))
    report = judged(bus)
    assert report.verdict is Verdict.UNKNOWN, report.findings
    assert f"{place[0]}/{place[1]}: a transaction stays open from {log[-1].offset} on" in report.unknown


def test_too_little_to_look_at_is_unknown() -> None:
    assert judged(History()).verdict is Verdict.UNKNOWN
    deliveries = judged(subject().bus).checked[Kind.PROJECTION]
    assert judged(subject().bus, Floor(deliveries=deliveries)).verdict is Verdict.VALID
    assert judged(subject().bus, Floor(deliveries=deliveries + 1)).verdict is Verdict.UNKNOWN


def test_signatures_that_nobody_can_verify_are_unknown_never_valid() -> None:
    report = check(subject().bus, PSEUDONYM_KEY)
    assert report.verdict is Verdict.UNKNOWN
    assert any("public keys" in reason for reason in report.unknown)


def halted(how: str, *, obeyed: bool, caught_up: bool) -> History:
    """A grant stands still while records flow and goes on after; the router obeys, and catches up, or does not."""
    made = Made(seed=3)
    made.open_city()
    made.grant_masked()
    steps: Sequence[Callable[[], None]] = (
        (lambda: made.suspend(MASKED, "G-2026-0002"), lambda: made.resume(MASKED, "G-2026-0002"))
        if how == "suspended"
        else (lambda: made.break_glass("resource", "people"), made.lift)
    )
    for decide in steps:
        for _ in range(9):
            made.publish(0, "person")
        live(made, 0, 100)
        decide()
        if not obeyed:
            made.active.add(MASKED)
            made.views[0, MASKED].joined = True
    load(made, 0, OPEN, 100)
    if caught_up:
        load(made, 0, MASKED, 100)
    else:
        made.views[0, MASKED].joined = True
    announce(made)
    made.bus.rules = dict(rules([FILTERED]))
    return made.bus


@pytest.mark.parametrize("how", ["suspended", "stopped"])
def test_what_is_delivered_while_it_stands_still_or_never_caught_up_is_found(how: str) -> None:
    assert judged(halted(how, obeyed=True, caught_up=True)).verdict is Verdict.VALID
    assert judged(halted(how, obeyed=False, caught_up=False)).kinds >= {Kind.LEAK}
    assert judged(halted(how, obeyed=True, caught_up=False)).kinds == {Kind.MISSING}


@pytest.mark.parametrize(("synced", "kinds"), [(False, set[Kind]()), (True, {Kind.MISSING, Kind.ATOMICITY})])
def test_a_grant_is_due_nothing_until_sync_has_made_its_topic(synced: bool, kinds: set[Kind]) -> None:
    made = Made(seed=5)
    made.open_city()
    made.grant_masked()
    made.active.discard(MASKED)
    del made.views[0, MASKED]
    if not synced:
        del made.bus.logs[MASKED, 0]
    for _ in range(9):
        made.publish(0, "person")
    live(made, 0, 100)
    announce(made)
    made.bus.rules = dict(rules([FILTERED] if synced else [FILTERED, MASKED]))
    assert judged(made.bus).kinds == kinds


def test_a_grant_to_the_last_day_of_the_calendar_is_judged_like_any_other() -> None:
    made = Made(seed=5, until_day=date.max.toordinal() - date(1970, 1, 1).toordinal())
    made.open_city()
    made.grant_filtered()
    for _ in range(9):
        made.publish(0, "person")
    live(made, 0, 100)
    announce(made)
    made.bus.rules = dict(rules([MASKED]))
    assert judged(made.bus).findings == []


def test_a_policy_record_of_an_unknown_kind_is_unknown() -> None:
    s = subject()
    s.repolicy(0, lambda record: record.update(body={"kind": "new"}))
    assert judged(s.bus).verdict is Verdict.UNKNOWN


def test_findings_beyond_a_thousand_are_counted_only() -> None:
    report = Report()
    for offset in range(FINDINGS_KEPT + 5):
        report.add(Kind.LEAK, "topic", 0, offset, "x")
    assert len(report.findings) == FINDINGS_KEPT
    assert report.found[Kind.LEAK] == FINDINGS_KEPT + 5


def test_interleaved_transactions_are_decided_by_their_own_markers() -> None:
    def entry(offset: int, producer: int, marker: Marker | None = None) -> Entry:
        return Entry(offset, 0, None, None, (), producer, 0, True, marker)

    bus = History(
        {("t", 0): [entry(0, 1), entry(1, 2), entry(2, 1, Marker.ABORT), entry(3, 2, Marker.COMMIT), entry(4, 3)]}
    )
    decided = [(found.offset, outcome) for found, outcome in Reading(bus, ("t", 0)).decided()]
    assert decided == [(0, Outcome.ABORTED), (1, Outcome.COMMITTED), (4, Outcome.OPEN)]


def batch(attributes: int, records: bytes) -> bytes:
    tail = struct.pack(">hiqqqhii", attributes, 0, 1000, 2000, 7, 3, -1, 1) + records
    return struct.pack(">qiibI", 42, len(tail) + 9, 0, 2, 0) + tail


RECORD = bytes([0, 10, 0, 2]) + b"k" + b"\x01" + b"\x02" + b"\x02h\x02v"
RECORD = bytes([len(RECORD) * 2]) + RECORD


@pytest.mark.parametrize(("codec", "packed"), [(0, RECORD), (1, gzip.compress(RECORD, mtime=0))])
def test_a_batch_gives_its_records_with_producer_and_headers(codec: int, packed: bytes) -> None:
    (entry,) = entries(batch(16 | codec, packed))
    assert entry == Entry(42, 1005, b"k", None, (("h", b"v"),), 7, 3, True, None)
    (stamped,) = entries(batch(8 | codec, packed))
    assert (stamped.millis, stamped.transactional) == (2000, False)


def test_a_codec_that_is_not_read_is_said() -> None:
    with pytest.raises(UnreadableBatch, match="codec 4"):
        list(entries(batch(4, RECORD)))
