"""What one view had to get of one source partition: the checker's own routing, record by record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bianhe.consumers.checker.ledger import Ledger
from bianhe.consumers.checker.log import Entry
from bianhe.consumers.checker.projection import Projection, Record, Secrets
from bianhe.consumers.checker.timeline import FOR_EVER, Feed, Timeline

REMOVED = "removed"
RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Due:
    """One record that a view had to get: a null of a kind, or the fields from `event_id` on."""

    entry: Entry
    source: Record | None
    """All fields of the source record."""
    null: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    projection: Projection | None = None


class View:
    """A delivery topic's partition: how far it got, which entities it holds, which number comes next."""

    def __init__(
        self,
        feed: Feed,
        state: Mapping[str, Any] | None,
        load: Ledger,
        timeline: Timeline,
        secrets: Secrets,
        exists: bool,
    ) -> None:
        self.feed = feed
        self.state = state
        self.load = load
        self.seq = 0
        self.loaded = 0
        """How many records it had to get of what stood when it began."""
        self.begin: int = state["begin"] if state else 0
        # One that no router began because its topic was not there yet was due nothing: sync makes it when it runs.
        position: int = state["position"] if state else 0
        goes_on = state["joined"] if state else exists and feed.active(timeline.version)
        self.stands_at = FOR_EVER if goes_on else position
        """Where it left the live flow, or its first load has come to, as long as it does not go with the live flow."""
        self.standing: frozenset[int] | None = None
        """The offsets before `begin` whose records were the last of their entity then."""
        self._held: set[bytes] = set()
        self._cut = False
        self._timeline = timeline
        self._secret = secrets.of(feed.grant) if feed.grant else None
        self._projections: dict[int, Projection] = {}

    @property
    def loads(self) -> bool:
        """Whether it has records that were there before it began."""
        return self.begin > 0

    def goes_live(self, offset: int) -> bool:
        """Whether this offset comes to it through the live flow, not through a load."""
        return self.load.leaves_out(offset)

    def projection(self, version: int) -> Projection:
        """What the view makes of records under a policy version."""
        contract = self._timeline.contract(self.feed.source, version)
        known = self._projections.get(id(contract))
        if known is None:
            known = self._projections[id(contract)] = Projection(self.feed, contract, self._secret)
        return known

    def due(self, entry: Entry, record: Record | None, version: int) -> tuple[Due | None, bool]:
        """What the view gets of a sound record, and whether that is kept back; numbers and holdings follow.

        Nothing is due, nor kept back, where the view is not fed.
        """
        if not self.feed.active(version) or (self.goes_live(entry.offset) and entry.offset >= self.stands_at):
            return None, False
        early = entry.offset < self.begin
        if early and (self.standing is None or entry.offset not in self.standing):
            return None, False
        self._cut |= entry.millis >= self.feed.until
        key = entry.key or b""
        if self._cut:
            return None, True
        if record is None:
            if self.feed.conditions and key not in self._held:
                return None, True
            self._held.discard(key)
            return self._null(entry, record, REMOVED), False
        projection = self.projection(version)
        if projection.lets_in(record):
            if self.feed.conditions:
                self._held.add(key)
            self.seq += 1
            self.loaded += early
            fields = projection.of(record)
            return Due(entry, record, "", fields | {"event_kind": "SNAPSHOT"} if early else fields, projection), False
        if key in self._held:
            self._held.remove(key)
            return self._null(entry, record, RETRACTED), True
        return None, True

    def _null(self, entry: Entry, record: Record | None, kind: str) -> Due:
        self.seq += 1
        return Due(entry, record, kind)
