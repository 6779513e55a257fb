"""What the counts say of each resource at an instant: rates, freshness, and what an administrator must hear of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bianhe.consumers.monitors.counts import Count, Span, journal_key

CYCLES: Final[Mapping[str, timedelta]] = {
    "实时": timedelta(hours=1),
    "每小时": timedelta(hours=1),
    "每日": timedelta(days=1),
    "每天": timedelta(days=1),
    "每周": timedelta(days=7),
    "每月": timedelta(days=31),
    "每季度": timedelta(days=92),
    "每半年": timedelta(days=184),
    "每年": timedelta(days=366),
}
"""Update cycles (更新周期) of the catalog guide, as the longest time between two events; others bind to nothing."""

QUARANTINE_SHARE: Final = 0.01
"""So much of an hour's events may be set aside before somebody must look."""
SILENCE_INTERVALS: Final = 10
SILENCE_SECONDS_MIN: Final = 600.0
"""Silent is what says nothing for ten times its usual interval, and for ten minutes at least."""


class Row(NamedTuple):
    """One row of a windowed table: the journal key, when its window began, what was counted."""

    span: Span
    begin: float
    key: str
    counted: Count


class Kind(StrEnum):
    """What an alert is about."""

    STALE = "stale"
    SILENT = "silent"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something an administrator must hear of; `since` is when it began, as far as the monitors can tell."""

    kind: Kind
    resource: str
    since: datetime
    detail: str

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.resource}"

    def document(self) -> dict[str, Any]:
        """As it stands on `monitor.alerts`; a null under its key says that it is over."""
        since = self.since.isoformat(timespec="seconds")
        return {"kind": self.kind.value, "resource": self.resource, "since": since, "detail": self.detail}


@dataclass
class Window:
    """Events and deliveries of a resource in one window."""

    events: int = 0
    quarantined: int = 0
    records: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Written records, by delivery topic."""
    kept_back: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, count: Count) -> None:
        self.events += count.events
        self.quarantined += count.quarantined
        for topic, delivered in count.views.items():
            self.records[topic] += delivered.records
            self.kept_back[topic] += delivered.kept_back


@dataclass
class Figures:
    """What is known of a resource: its last whole windows, and when its last event was."""

    cycle: timedelta | None = None
    last_event: float | None = None
    whole: dict[Span, Window] = field(default_factory=lambda: {span: Window() for span in Span})
    hour_events: int = 0
    """In the minutes that began within the last 60, the present one too."""
    day_events: int = 0
    """In the last 24 hours, but for the hour that is not over."""

    def age(self, now: float) -> float | None:
        """Seconds since the last event; None where there never was one."""
        return None if self.last_event is None else max(now - self.last_event, 0.0)


def figures(
    cycles: Mapping[str, str], latest: Mapping[str, Count], rows: Iterable[Row], now: float
) -> dict[str, Figures]:
    """What is known at `now` of each resource in the catalog; `cycles` is what it declares, `latest` ever counted."""
    found = {resource: Figures(cycle=CYCLES.get(cycle.strip())) for resource, cycle in cycles.items()}
    for key, count in latest.items():
        named = journal_key(key)
        if named and named.live and (known := found.get(named.resource)):
            known.last_event = max(known.last_event or 0.0, count.last)
    whole = {span: span.last_whole(now) for span in Span}
    day = Span.HOUR.begin(now) - 86_400
    for row in rows:
        named = journal_key(row.key)
        if named is None or named.resource not in found:
            continue
        known = found[named.resource]
        if row.begin == whole[row.span]:
            known.whole[row.span].add(row.counted)
        if row.span is Span.MINUTE and now - 3600 < row.begin <= now:
            known.hour_events += row.counted.events
        if row.span is Span.HOUR and day <= row.begin < Span.HOUR.begin(now):
            known.day_events += row.counted.events
    return found


def alerts(found: Mapping[str, Figures], now: float) -> Sequence[Alert]:
    """What must be heard of, in the order of the resources. Says nothing of a resource that never had an event."""
    raised = []
    for resource, known in sorted(found.items()):
        age = known.age(now)
        if age is None or known.last_event is None:
            continue
        last = datetime.fromtimestamp(known.last_event, UTC)
        if known.cycle is not None and age > known.cycle.total_seconds():
            detail = f"no event for {_lasted(age)}, declared is one every {_lasted(known.cycle.total_seconds())}"
            raised.append(Alert(Kind.STALE, resource, last + known.cycle, detail))
        usual = 86_400 / known.day_events if known.day_events else None
        if usual is not None and age > max(SILENCE_INTERVALS * usual, SILENCE_SECONDS_MIN):
            raised.append(Alert(Kind.SILENT, resource, last, f"no event for {_lasted(age)}, usual is {_lasted(usual)}"))
        hour = known.whole[Span.HOUR]
        if hour.quarantined > QUARANTINE_SHARE * hour.events:
            began = datetime.fromtimestamp(Span.HOUR.last_whole(now), UTC)
            detail = f"{hour.quarantined:,} of {hour.events:,} events of an hour set aside"
            raised.append(Alert(Kind.QUARANTINE, resource, began, detail))
    return raised


def _lasted(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
