"""What the monitors count of the journal, window by window; an entry that comes again counts once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple, Self

from bianhe.schemas import names
from bianhe.schemas.records.journal import JournalEntry

CITY_SECONDS: Final = 8 * 3600
"""A day begins at midnight in the city (UTC+8)."""


class Span(Enum):
    """A kind of window: its length, and how long it is kept, in seconds."""

    MINUTE = 60, 2 * 3600
    HOUR = 3600, 3 * 86_400
    DAY = 86_400, 62 * 86_400

    def __init__(self, seconds: int, kept: int) -> None:
        self.seconds = seconds
        self.kept = kept

    @property
    def label(self) -> str:
        return self.name.lower()

    def begin(self, at: float) -> float:
        """When the window began in which an instant lies, both in seconds since 1970."""
        return (at + CITY_SECONDS) // self.seconds * self.seconds - CITY_SECONDS

    def last_whole(self, now: float) -> float:
        """When the last window began that is over."""
        return self.begin(now) - self.seconds


class Delivered(NamedTuple):
    """What one view made of the events: records written, and events that its row rule or term kept back."""

    records: int
    kept_back: int


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted under one journal key, in one window or ever.

    `events` are offsets of the source, which hold one event each until they are compacted. `through` is the position
    up to which it has counted: positions of a key only grow, so what lies before was counted.
    """

    events: int = 0
    quarantined: int = 0
    through: int = 0
    last: float = 0.0
    views: Mapping[str, Delivered] = field(default_factory=dict)

    def after(self, entry: JournalEntry, at: float, *, live: bool) -> Self:
        """The count with one entry more, written at an instant; a first load delivers what was an event before."""
        if entry.begin < self.through:
            return self
        views = dict(self.views)
        for view in entry.views:
            before = views.get(view.topic, Delivered(0, 0))
            views[view.topic] = Delivered(before.records + view.records, before.kept_back + view.kept_back)
        return type(self)(
            events=self.events + (entry.end - entry.begin if live else 0),
            quarantined=self.quarantined + entry.quarantined,
            through=entry.end,
            last=max(self.last, at),
            views=views,
        )

    def document(self) -> dict[str, Any]:
        """As it is kept on the monitors' own topics, as JSON."""
        return {
            "events": self.events,
            "quarantined": self.quarantined,
            "through": self.through,
            "last": self.last,
            "views": {topic: list(delivered) for topic, delivered in self.views.items()},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Self:
        """Read it back; nothing was counted where there is none."""
        if not document:
            return cls()
        views = {topic: Delivered(*delivered) for topic, delivered in document["views"].items()}
        return cls(**{**document, "views": views})


class JournalKey(NamedTuple):
    """What a journal entry is about: a source partition, or the first load of a view from it."""

    resource: str
    live: bool


def journal_key(key: str) -> JournalKey | None:
    """What a key of the journal says; None where the monitors do not know such entries."""
    source, _, load = key.partition("/")
    topic = names.parse_topic(source)
    return JournalKey(topic.resource, "/" not in load) if isinstance(topic, names.SourceTopic) else None
