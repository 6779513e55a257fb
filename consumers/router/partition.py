"""What a worker knows of one source partition. Changes since the last commit can be undone together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bianhe.consumers.router.plan import Delivery
from bianhe.schemas.records.journal import JournalEntry, ViewEntry
from bianhe.schemas.records.state import Position, ViewPosition


@dataclass(slots=True)
class _Tally:
    """One view's share of the open transaction."""

    records: int = 0
    kept_back: int = 0


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

    def __post_init__(self) -> None:
        self.position = self.committed
        self.quarantined = 0
        self._seq: dict[str, int] = {}
        self._cut: set[str] = set()
        self._tally: dict[str, _Tally] = {}
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

    def join(self, topic: str, view: ViewPosition, held: set[bytes] | None) -> None:
        """A view that was behind has come to the present position, and goes with the live flow from here."""
        self.views[topic] = replace(view, joined=True)
        self._begun.add(topic)
        if held is not None:
            self.held[topic] = held

    @property
    def behind(self) -> Mapping[str, ViewPosition]:
        """The views that do not go with the live flow yet, as far as they are written down."""
        return {topic: view for topic, view in self.views.items() if not view.joined and topic not in self._begun}

    def is_cut(self, delivery: Delivery, append_millis: int) -> bool:
        """Whether the view's term is over at this append time; once cut it stays cut."""
        topic = delivery.topic
        if append_millis >= delivery.until:
            self._cut.add(topic)
        return topic in self._cut or self.views[topic].cut

    def next_seq(self, topic: str) -> int:
        """The `bus_seq` of one more record of this view."""
        seq = self._seq.get(topic)
        seq = (self.views[topic].seq if seq is None else seq) + 1
        self._seq[topic] = seq
        self._tallied(topic).records += 1
        return seq

    def keep_back(self, topic: str) -> None:
        self._tallied(topic).kept_back += 1

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
        return self.position != self.committed or bool(self._begun) or bool(self._cut)

    def touched(self) -> Mapping[str, ViewPosition]:
        """The view positions that the open transaction changes."""
        topics = self._tally.keys() | self._begun | self._cut
        return {topic: self._after(topic) for topic in sorted(topics)}

    def _after(self, topic: str) -> ViewPosition:
        before = self.views[topic]
        if not before.joined:
            return before
        return replace(
            before,
            seq=self._seq.get(topic, before.seq),
            position=self.position,
            cut=before.cut or topic in self._cut,
        )

    def state(self, policy_version: int) -> Position:
        return Position(self.position, policy_version)

    def journal(self, policy_version: int) -> JournalEntry:
        """What the open transaction routed of this partition."""
        entries = tuple(
            ViewEntry(topic, tally.records, tally.kept_back, self._after(topic).seq)
            for topic, tally in sorted(self._tally.items())
        )
        return JournalEntry(self.committed, self.position, policy_version, self.quarantined, entries)

    def commit(self) -> None:
        """The open transaction is on the log."""
        self.views.update(self.touched())
        self.committed = self.position
        self._forget()

    def abort(self) -> None:
        """The open transaction is gone: position, counters and holdings are as before it. Begun views stay begun."""
        for held, key, was_in in reversed(self._undo):
            if was_in:
                held.add(key)
            else:
                held.discard(key)
        begun = self._begun
        self.position = self.committed
        self._forget()
        self._begun = begun

    def _forget(self) -> None:
        self.quarantined = 0
        self._seq.clear()
        self._cut = set()
        self._tally.clear()
        self._begun = set()
        self._undo.clear()

    def _tallied(self, topic: str) -> _Tally:
        tally = self._tally.get(topic)
        if tally is None:
            tally = self._tally[topic] = _Tally()
        return tally
