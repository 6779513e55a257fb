"""What a worker knows of one source partition. Changes since the last commit can be undone together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bianhe.consumers.router.cap import Cap
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.plan import Delivery, Route
from bianhe.schemas.lanes import Deliver, Lane, Lanes
from bianhe.schemas.records.journal import JournalEntry, ViewEntry
from bianhe.schemas.records.state import Position, ViewPosition


@dataclass
class PartitionState:
    """Position, views and, for filtered views, the entities held, of one source partition.

    The committed half is what `bus.router-state` says; the rest is the open transaction's and goes by `abort`.
    """

    topic: str
    partition: int
    committed: int
    """Position after the last committed transaction."""
    views: dict[str, ViewPosition] = field(default_factory=dict)
    """Committed view positions by delivery topic."""
    held: dict[str, set[bytes]] = field(default_factory=dict)
    """Keys of the entities that each filtered view holds."""

    cap: Cap = field(default_factory=lambda: Cap(Limits()))

    def __post_init__(self) -> None:
        self.position = self.committed
        self.quarantined = 0
        self.stands_still = False
        """Whether the record at its position is one bad record too many."""
        self.topics: tuple[str, ...] = ()
        """The delivery topics of the live flow, one for each lane."""
        self.filtered: Sequence[tuple[int, Delivery]] = ()
        """The lanes with a row rule."""
        self.lanes = Lanes([])
        self.delivering: dict[bytes, Deliver] = {}
        """What delivers a record, by the head of its value: magic byte and schema id."""
        self._route: Route | None = None
        self._begun: set[str] = set()
        self._undo: list[tuple[set[bytes], bytes, bool]] = []

    def begin_views(self, deliveries: Iterable[Delivery]) -> None:
        """Views that are new here begin at the present position; they are written with the next transaction.

        Where something lies before it, they have a first load of their own and join the live flow after it.
        """
        for delivery in deliveries:
            if delivery.filtered:
                self.held.setdefault(delivery.topic, set())
            if delivery.topic not in self.views:
                self.views[delivery.topic] = ViewPosition(
                    begin=self.position, seq=0, position=0, cut=False, joined=self.position == 0
                )
                self._begun.add(delivery.topic)

    def aim(self, route: Route) -> None:
        """Between transactions: begin new views, halt what stands still, and deliver to all that are not behind."""
        if route is self._route:
            return
        self._route = route
        self.begin_views(route.deliveries)
        self._halt(route.still)
        deliveries = [each for each in route.deliveries if self.views[each.topic].joined]
        self.topics = tuple(each.topic for each in deliveries)
        self.filtered = [(lane, each) for lane, each in enumerate(deliveries) if each.filtered]
        committed = [(each, self.views[each.topic]) for each in deliveries]
        self.lanes = Lanes([Lane(each.slot, each.frame, each.until, view.seq, view.cut) for each, view in committed])
        self.delivering = {head: slicer.delivering(self.lanes) for head, slicer in route.slicers.items()}

    def _halt(self, topics: Iterable[str]) -> None:
        """Views that went with the live flow stand still at its position; let go on, they catch up from there."""
        for topic in topics:
            view = self.views.get(topic)
            if view is not None and view.joined:
                self.views[topic] = replace(view, position=self.committed, joined=False)
                self._begun.add(topic)
                self.held.pop(topic, None)

    def loaded(self, topic: str, view: ViewPosition) -> None:
        """A transaction of its load has brought a view this far; it is still behind."""
        self.views[topic] = view

    def join(self, topic: str, view: ViewPosition, held: set[bytes] | None) -> None:
        """A view that was behind has come to the present position, and goes with the live flow from here."""
        self.views[topic] = replace(view, joined=True)
        self._begun.add(topic)
        self._route = None
        if held is not None:
            self.held[topic] = held

    @property
    def behind(self) -> Mapping[str, ViewPosition]:
        """The views that do not go with the live flow yet, as far as they are written down."""
        return {topic: view for topic, view in self.views.items() if not view.joined and topic not in self._begun}

    def enter(self, topic: str, key: bytes) -> None:
        """The view holds this entity from now on."""
        held = self.held[topic]
        if key not in held:
            held.add(key)
            self._undo.append((held, key, False))

    def leave(self, topic: str, key: bytes) -> bool:
        """The view holds this entity no longer; tells whether it did."""
        held = self.held[topic]
        if key not in held:
            return False
        held.remove(key)
        self._undo.append((held, key, True))
        return True

    @property
    def changed(self) -> bool:
        """Whether the open transaction has anything of this partition to write down."""
        return self.position != self.committed or bool(self._begun) or self.stands_still

    @property
    def written(self) -> int:
        """How many records the open transaction has for the views of this partition."""
        return sum(seq - self.views[topic].seq for topic, seq, _, _ in self._columns())

    def touched(self) -> Mapping[str, ViewPosition]:
        """The view positions that the open transaction changes."""
        after = {topic: self.views[topic] for topic in self._begun}
        for topic, seq, kept_back, cut in self._columns():
            before = self.views[topic]
            if seq != before.seq or kept_back or cut != before.cut or topic in after:
                after[topic] = ViewPosition(before.begin, seq, self.position, cut, before.joined)
        return dict(sorted(after.items()))

    def _columns(self) -> Iterator[tuple[str, int, int, bool]]:
        lanes = self.lanes
        return zip(self.topics, lanes.seq, lanes.kept_back, map(bool, lanes.cut), strict=True)

    def state(self, policy_version: int) -> Position:
        return Position(self.position, policy_version)

    def journal(self, policy_version: int) -> JournalEntry:
        """What the open transaction routed of this partition."""
        entries = sorted(
            (topic, seq - self.views[topic].seq, kept_back, seq)
            for topic, seq, kept_back, _ in self._columns()
            if kept_back or seq != self.views[topic].seq
        )
        views = tuple(ViewEntry(*entry) for entry in entries)
        return JournalEntry(self.committed, self.position, policy_version, self.quarantined, views)

    def commit(self) -> None:
        """The open transaction is on the log."""
        self.views.update(self.touched())
        self.committed = self.position
        self.cap.commit()
        self._begun = set()
        self._forget()

    def abort(self) -> None:
        """The open transaction is gone: position, counters and holdings are as before it. Begun views stay begun."""
        for held, key, was_in in reversed(self._undo):
            if was_in:
                held.add(key)
            else:
                held.discard(key)
        self.position = self.committed
        self.stands_still = False
        self.cap.abort()
        for lane, topic in enumerate(self.topics):
            self.lanes.seq[lane], self.lanes.cut[lane] = self.views[topic].seq, self.views[topic].cut
        self._forget()

    def _forget(self) -> None:
        self.quarantined = 0
        for lane in range(len(self.topics)):
            self.lanes.kept_back[lane] = 0
        self._undo.clear()
