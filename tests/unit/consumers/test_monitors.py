"""What the monitors count and what they raise: windows by the city's clock, nothing twice, alerts by their bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import faust
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bianhe.consumers.monitors.counts import Count, Delivered, Span, journal_key
from bianhe.consumers.monitors.report import CYCLES, Row, alerts, figures
from bianhe.consumers.monitors.streams import _app, _Table
from bianhe.infra.kafka.connection import Connection
from bianhe.schemas.records.journal import JournalEntry, ViewEntry
from support.policies import OPEN, SOURCE

NOW = datetime(2026, 11, 28, 3, 30, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
KEY = f"{SOURCE}/0"


def entry(begin: int, end: int, quarantined: int = 0) -> JournalEntry:
    view = ViewEntry(OPEN, end - begin - quarantined, 0, end)
    return JournalEntry(begin, end, 1, quarantined, (view,))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_entries_that_come_again_after_a_restart_count_once(sizes: list[int], data: st.DataObject) -> None:
    ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
    entries = [entry(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    count, at = Count(), 0
    while at < len(entries):
        count = Count.of(count.after(entries[at], NOW + at, live=True).document())
        # A process that dies goes back to the last committed position, which may be anywhere before.
        at = data.draw(st.integers(0, at), label="again from") if data.draw(st.booleans(), label="dies") else at + 1
        if data.draw(st.integers(0, 9)) == 0:
            break
    for each in entries:
        count = count.after(each, NOW, live=True)
    assert (count.events, count.through) == (ends[-1], ends[-1])
    assert count.views == {OPEN: Delivered(ends[-1], 0)}


def test_a_first_load_delivers_and_is_no_event() -> None:
    count = Count().after(entry(0, 7), NOW, live=False)
    assert (count.events, count.views[OPEN].records) == (0, 7)
    named = journal_key(f"{KEY}/{OPEN}")
    assert named is not None
    assert (named.resource, named.live) == ("population", False)


@pytest.mark.parametrize(
    ("span", "at", "begin"),
    [
        (Span.DAY, "2026-11-27T15:59:59+00:00", "2026-11-26T16:00:00+00:00"),
        (Span.DAY, "2026-11-27T16:00:00+00:00", "2026-11-27T16:00:00+00:00"),
        (Span.HOUR, "2026-11-28T03:59:59+00:00", "2026-11-28T03:00:00+00:00"),
        (Span.MINUTE, "2026-11-28T03:59:59+00:00", "2026-11-28T03:59:00+00:00"),
    ],
)
def test_a_window_begins_by_the_clock_of_the_city(span: Span, at: str, begin: str) -> None:
    assert span.begin(datetime.fromisoformat(at).timestamp()) == datetime.fromisoformat(begin).timestamp()


def raised(cycle: str, last: float | None, rows: Sequence[Row] = ()) -> list[str]:
    latest = {} if last is None else {KEY: Count(events=1, through=1, last=last)}
    return [alert.kind.value for alert in alerts(figures({"population": cycle}, latest, rows, NOW), NOW)]


@pytest.mark.parametrize(
    ("cycle", "age", "expected"),
    [
        ("实时", HOUR, []),
        ("实时", HOUR + 1, ["stale"]),
        ("每日", HOUR + 1, []),
        ("每日", DAY + 1, ["stale"]),
        ("每年", 367 * DAY, ["stale"]),
        ("不定期", 999 * DAY, []),
        ("", 999 * DAY, []),
        ("实时", None, []),
    ],
)
def test_a_resource_is_stale_past_its_declared_update_cycle(cycle: str, age: float | None, expected: list[str]) -> None:
    assert raised(cycle, None if age is None else NOW - age) == expected


@pytest.mark.parametrize(
    ("events_of_day", "age", "expected"),
    [
        (8640, 601.0, ["silent"]),
        (8640, 599.0, []),
        (24, 9 * HOUR, []),
        (24, 10 * HOUR + 1, ["silent"]),
        (0, 10 * HOUR, []),
    ],
)
def test_silent_is_what_says_nothing_for_ten_times_its_usual_interval(
    events_of_day: int, age: float, expected: list[str]
) -> None:
    row = Row(Span.HOUR, Span.HOUR.begin(NOW) - 20 * HOUR, KEY, Count(events=events_of_day))
    assert raised("每年", NOW - age, [row]) == expected


@pytest.mark.parametrize(("quarantined", "expected"), [(0, []), (10, []), (11, ["quarantine"])])
def test_an_hour_with_more_than_a_hundredth_set_aside_is_an_alert(quarantined: int, expected: list[str]) -> None:
    row = Row(Span.HOUR, Span.HOUR.last_whole(NOW), KEY, Count(events=1000, quarantined=quarantined))
    assert raised("每年", NOW - 1, [row]) == expected


def test_figures_are_of_the_last_window_that_is_over_and_sum_the_partitions() -> None:
    begin = Span.MINUTE.last_whole(NOW)
    count = Count().after(entry(0, 10, quarantined=1), begin + 1, live=True)
    keys = (KEY, f"{SOURCE}/1", f"{KEY}/{OPEN}", "source.unknown.v1/0")
    rows = [Row(Span.MINUTE, begin + late, key, count) for key in keys for late in (-60, 0, 60)]
    window = figures({"population": "实时"}, {}, rows, NOW)["population"].whole[Span.MINUTE]
    assert (window.events, window.quarantined, dict(window.records)) == (30, 3, {OPEN: 27})


def test_the_last_hour_runs_with_the_clock() -> None:
    rows = [Row(Span.MINUTE, NOW - 60 * minutes, KEY, Count(events=1)) for minutes in range(-1, 62)]
    assert figures({"population": "实时"}, {}, rows, NOW + 30)["population"].hour_events == 60


def test_the_cycles_of_the_sample_catalog_are_known() -> None:
    assert {"实时", "每日"} <= CYCLES.keys()
    assert all(bound >= timedelta(hours=1) for bound in CYCLES.values())


@pytest.fixture
def minutes() -> _Table:
    """A table of windows of a minute, kept for two hours."""
    table = _Table(_app(Connection("localhost:1", "monitors", SecretStr("")), Path("unused")), name="minute")
    table.window = faust.TumblingWindow(60, expires=7200)
    return table


def test_a_window_that_is_written_again_is_noted_to_expire_once(minutes: _Table) -> None:
    for _ in range(3):
        minutes._maybe_set_key_ttl((KEY, (NOW, NOW + 59.9)), 0)
    assert minutes._partition_timestamps[0] == [NOW + 59.9]


@pytest.mark.parametrize(("age", "kept"), [(60, 1), (7400, 0)])
def test_a_window_that_was_recovered_expires_like_one_that_was_counted(minutes: _Table, age: int, kept: int) -> None:
    begin = time.time() - age
    message = SimpleNamespace(value=b"{}", partition=2)
    minutes.apply_changelog_batch([SimpleNamespace(key=[KEY, [begin, begin + 59.9]], value={}, message=message)])
    assert len(minutes.data) == 1
    asyncio.run(minutes._del_old_keys())
    assert len(minutes.data) == kept
