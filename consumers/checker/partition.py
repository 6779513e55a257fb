"""One source partition against everything that was made of it: a walk along the source, all its views beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from bianhe.consumers.checker.bus_records import Books, Range
from bianhe.consumers.checker.delivery import UNREADABLE, Delivered, Stream
from bianhe.consumers.checker.due import Due, View
from bianhe.consumers.checker.findings import Finding, Kind, Report
from bianhe.consumers.checker.ledger import Ledger
from bianhe.consumers.checker.log import Bus, Entry, Place, Reading
from bianhe.consumers.checker.match import differences
from bianhe.consumers.checker.projection import NotOfItsSchema, Secrets
from bianhe.consumers.checker.source import Source
from bianhe.consumers.checker.timeline import FOR_EVER, Feed, Timeline
from bianhe.schemas import names

_OF_EVERY_DELIVERY = (Kind.DOUBLE, Kind.ORDER, Kind.SEQUENCE, Kind.VERSION, Kind.PROJECTION, Kind.LEAK)
_NEED_ALL = frozenset({Kind.MISSING, Kind.DOUBLE, Kind.ORDER, Kind.SEQUENCE, Kind.ATOMICITY})
"""Findings that mean nothing where compaction has taken records away."""


class Track:
    """A view beside its source: the deliveries that stand on its topic, held against what is due."""

    def __init__(self, view: View, stream: Stream, settled: bool) -> None:
        self.view = view
        self.stream = stream
        self.findings: list[Finding] = []
        self.unsure: list[Finding] = []
        """Findings only if no source record has been compacted away."""
        self.due = self.compared = self.views = 0
        """Deliveries that had to be there, those that were, and those of them with a value."""
        self._settled = settled
        self._missed: dict[int, Finding] = {}
        self._before = -1
        """The source record before the present one."""

    @property
    def place(self) -> Place:
        return self.stream.reading.place

    def take(self, entry: Entry, due: Due | None, within: Range | None) -> None:
        """Hold what stands for one source record against what is due; `within` None where no finding can be made."""
        found = self._match(entry, due)
        if within is None:
            while (head := self.stream.head()) is not None and head.source_offset == entry.offset:
                found = self.stream.pop()
            self.view.seq = found.seq if found is not None else self.view.seq
        elif due is None:
            while (head := self.stream.head()) is not None and head.source_offset == entry.offset:
                extra = self.stream.pop()
                self._found(
                    Kind.LEAK, extra, f"source record {entry.offset} is not for this view", sure=extra.body is not None
                )
        else:
            self._judge(entry, due, found, within)
        self._before = entry.offset

    def finish(self, source: Reading, horizon: int) -> None:
        """Judge what is left when the source is read up to the journal's end."""
        for found in self.stream.rest():
            if found.source_offset >= source.extent.end:
                self._found(Kind.LEAK, found, f"there is no source record {found.source_offset}")
            elif found.source_offset < horizon:
                self._late(found, horizon)
            elif self._settled:
                self._found(Kind.ATOMICITY, found, f"no journal entry covers source record {found.source_offset}")
        self.findings.extend(self._missed.values())
        topic, partition = self.place
        for offset in self.stream.beyond_edge:
            message = f"it stands at or after the edge {self.stream.edge} of {self.view.feed.grant}"
            self.findings.append(Finding(Kind.EDGE, topic, partition, offset, message))

    def _match(self, entry: Entry, due: Due | None) -> Delivered | None:
        head = self.stream.head()
        if head is not None and head.source_offset == entry.offset and due is not None:
            return self.stream.pop()
        found = self.stream.find(entry.offset) if due is not None and head is not None else None
        while (head := self.stream.head()) is not None and head.source_offset < entry.offset:
            if found is None and due is not None and self._is_misnumbered(head, entry):
                return self.stream.pop()
            self._late(self.stream.pop(), entry.offset)
        if found is not None:
            if head is not None and head.offset < found.offset:
                self._found(Kind.ORDER, found, f"source record {entry.offset} stands behind a later one")
            return found
        return self.stream.pop() if head and due is not None and self._is_misnumbered(head, entry) else None

    def _is_misnumbered(self, head: Delivered, entry: Entry) -> bool:
        """Whether this is the delivery that was due, but for its bus_offset or all of its content."""
        return head.key == entry.key and (head.seq == self.view.seq or head.kind == UNREADABLE)

    def _late(self, found: Delivered, present: int) -> None:
        if found.kind == UNREADABLE:
            self._found(Kind.PROJECTION, found, "it is no delivery record")
        elif self._missed.pop(found.source_offset, None) is not None:
            self._found(Kind.ORDER, found, f"source record {found.source_offset} stands behind later ones")
        elif self._before < found.source_offset < present:
            self._found(Kind.LEAK, found, f"{found.source_offset} is no committed source record", sure=False)
        else:
            self._found(Kind.DOUBLE, found, f"source record {found.source_offset} was delivered before")

    def _judge(self, entry: Entry, due: Due, found: Delivered | None, within: Range) -> None:
        topic, partition = self.place
        self.due += 1
        if found is None:
            torn = entry.offset in self.stream.aborted
            kind = Kind.ATOMICITY if torn else Kind.MISSING
            message = f"source record {entry.offset} (journal {within.partition}@{within.offset}) is not there" + (
                ": it stands in an aborted transaction" if torn else ""
            )
            self._missed[entry.offset] = Finding(kind, topic, partition, self._present_offset(), message)
            return
        self.compared += 1
        self.views += due.projection is not None
        for kind, message in differences(found, due, self.view.feed, within.version, self.view.seq):
            self._found(kind, found, message)
        while (head := self.stream.head()) is not None and head.source_offset == entry.offset:
            self._found(Kind.DOUBLE, self.stream.pop(), f"source record {entry.offset} was delivered before")

    def _present_offset(self) -> int:
        head = self.stream.head()
        return head.offset if head is not None else self.stream.reading.extent.end

    def _found(self, kind: Kind, found: Delivered, message: str, *, sure: bool = True) -> None:
        if self.stream.edge is not None and found.offset >= self.stream.edge:
            return
        (self.findings if sure else self.unsure).append(Finding(kind, *self.place, found.offset, message))


class Partition:
    """Judges one source partition and every delivery topic's partition of the same number."""

    def __init__(self, bus: Bus, place: Place, timeline: Timeline, books: Books, report: Report) -> None:
        self._bus = bus
        self._place = place
        self._timeline = timeline
        self._books = books
        self._report = report
        self._key = f"{place[0]}/{place[1]}"
        self._source = Source(timeline.contracts.get(place[0], {}))
        start = bus.extents[place].start
        self._live = Ledger(self._key, books.ranges.get(self._key, ()), start, timeline.version, report)
        self._notes = dict(books.notes.get(place, {}))

    def judge(self, secrets: Secrets) -> None:
        """Walk the source once (twice where a view had a first load, or transactions were aborted)."""
        feeds = [feed for feed in self._timeline.feeds.values() if feed.source == self._place[0]]
        tracks = [self._track(feed, secrets) for feed in feeds]
        self._find_standing([track.view for track in tracks])
        reading = Reading(self._bus, self._place)
        for entry in reading.committed():
            if entry.offset < self._live.end:
                self._take(entry, tracks)
        self._live.close()
        for track in tracks:
            track.view.load.close()
            track.finish(reading, self._live.end)
            self._judge_caught_up(track)
        self._doubt_open(reading)
        if reading.incomplete:
            self._report.doubt(f"{self._key} is not complete any more")
        else:
            self._judge_numbers(tracks)
        self._judge_aborted(tracks, reading)
        for track in tracks:
            self._emit(track, reading)
        if self._books.positions.get(self._key, 0) != self._live.end and self._bus.settled:
            said = self._books.positions.get(self._key, 0)
            message = f"the state of {self._key} is {said}, its journal ends at {self._live.end}"
            self._report.add(Kind.ATOMICITY, names.ROUTER_STATE, -1, -1, message)

    def _track(self, feed: Feed, secrets: Secrets) -> Track:
        partition = self._place[1]
        key = f"{self._key}/{feed.topic}"
        state = self._books.views.get(key)
        load = self._load_ledger(key, feed, state["begin"] if state else 0)
        told = self._live.mentions(feed.topic) or load.end > 0
        moves = state is None or (not state["joined"] and feed.active(self._timeline.version))
        if told and not self._bus.settled and moves:
            self._live.untold.add(feed.topic)
            self._report.doubt(f"{key} had just begun when it was read: check again")
        elif told and state is None:
            self._report.add(Kind.ATOMICITY, names.ROUTER_STATE, -1, -1, f"there is no state of {key}")
        exists = (feed.topic, partition) in self._bus.extents
        view = View(feed, state, load, self._timeline, secrets, exists)
        edge = feed.edge.get(partition)
        stream = Stream(Reading(self._bus, (feed.topic, partition)), edge)
        return Track(view, stream, self._bus.settled)

    def _load_ledger(self, key: str, feed: Feed, began: int) -> Ledger:
        """The journal of a view's loads; what they leave out it must have had of the live flow, before a suspension."""

        def was_live(begin: int, end: int) -> bool:
            return begin >= began and self._live.covers(begin, end, feed.active)

        return Ledger(key, self._books.ranges.get(key, ()), 0, self._timeline.version, self._report, was_live)

    def _judge_caught_up(self, track: Track) -> None:
        """What passed a view by while it stood still must have come to it by a load."""
        view = track.view
        for each in self._live.under(view.feed.stood_still):
            if each.begin < view.stands_at and view.load.end < min(each.end, view.stands_at):
                message = f"source records {each.begin} to {each.end} passed it by while it stood still and never came"
                track.findings.append(Finding(Kind.MISSING, *track.place, track.stream.reading.extent.end, message))

    def _take(self, entry: Entry, tracks: Iterable[Track]) -> None:
        live = self._live.at(entry.offset)
        sound, record = self._sound(entry, live)
        for track in tracks:
            view = track.view
            ledger = self._live if view.goes_live(entry.offset) else view.load
            within = live if ledger is self._live else ledger.at(entry.offset)
            if ledger is self._live and view.feed.topic in ledger.untold:
                within = None
            if not sound:
                track.take(entry, None, within)
                continue
            version = within.version if within else ledger.version_at(entry.offset)
            due, kept_back = view.due(entry, record, version)
            if within is not None and (due is not None or kept_back):
                ledger.due(view.feed.topic, int(due is not None), int(kept_back), view.seq)
            if due is not None and due.projection is not None and not due.projection.judgeable:
                self._report.doubt(f"{view.feed.topic}: pseudonyms cannot be checked without the key")
            track.take(entry, due, within)

    def _sound(self, entry: Entry, live: Range | None) -> tuple[bool, Mapping[str, Any] | None]:
        """Whether a record can be trusted, and its fields; what quarantine says of it is judged too."""
        self._report.checked[Kind.QUARANTINE] += live is not None
        notes = self._notes.pop(entry.offset, [])
        try:
            record = self._source.read(entry, live.version if live else self._live.version_at(entry.offset))
        except NotOfItsSchema as reason:
            if live is not None:
                self._live.due_quarantined()
                self._judge_bad(entry, len(notes), reason.message)
                value = entry.value or b""
                truth = (hashlib.sha256(value).hexdigest(), len(value))
                for note in notes:
                    if (note.digest, note.size) != truth:
                        self._quarantine(note.offset, f"digest or size of {self._key}@{entry.offset} is wrong")
            return False, None
        for note in notes if live is not None else ():
            self._quarantine(note.offset, f"{self._key}@{entry.offset} is a good record")
        return True, record

    def _judge_bad(self, entry: Entry, notes: int, reason: str) -> None:
        if notes == 0:
            place = (*self._place, entry.offset)
            self._report.add(Kind.QUARANTINE, *place, f"bad and not quarantined: {reason}")
        elif notes > 1:
            self._quarantine(-1, f"{self._key}@{entry.offset} is quarantined {notes} times")

    def _judge_numbers(self, tracks: Iterable[Track]) -> None:
        """What journal, state and quarantine say, where every source record was there to be counted."""
        self._report.extend(self._live.wrong_numbers)
        for track in tracks:
            self._report.extend(track.view.load.wrong_numbers)
            self._compare_state(track.view)
            self._compare_manifest(track.view)
            track.findings += track.unsure
        for offset, notes in self._notes.items():
            if offset < self._live.end:
                for note in notes:
                    self._quarantine(note.offset, f"{self._key}@{offset} is no source record")

    def _quarantine(self, offset: int, message: str) -> None:
        self._report.add(Kind.QUARANTINE, names.QUARANTINE, 0, offset, message)

    def _find_standing(self, views: Iterable[View]) -> None:
        """One pass for the views that had a first load: which records stood when they began."""
        loading = sorted((view for view in views if view.loads), key=lambda view: view.begin)
        if not loading:
            return
        last: dict[bytes, int] = {}
        for entry in Reading(self._bus, self._place).committed():
            while loading and entry.offset >= loading[0].begin:
                loading.pop(0).standing = frozenset(last.values())
            if not loading:
                return
            try:
                record = self._source.read(entry, self._live.version_at(entry.offset))
            except NotOfItsSchema:
                continue
            if record is None:
                last.pop(entry.key or b"", None)
            else:
                last[entry.key or b""] = entry.offset
        for view in loading:
            view.standing = frozenset(last.values())

    def _compare_state(self, view: View) -> None:
        if view.state is None or not self._bus.settled:
            return
        place = f"{self._key}/{view.feed.topic}"
        if view.state["seq"] != view.seq:
            message = f"the state of {place} says bus_seq {view.state['seq']}, due were {view.seq}"
            self._report.add(Kind.ATOMICITY, names.ROUTER_STATE, -1, -1, message)
        # One that stands still was live before; one that never joined is where its load is.
        most = self._live.end if view.stands_at == FOR_EVER or view.feed.halted else view.load.end
        if view.state["position"] > most:
            message = f"the state of {place} is {view.state['position']}, its journal ends at {most}"
            self._report.add(Kind.ATOMICITY, names.ROUTER_STATE, -1, -1, message)

    def _compare_manifest(self, view: View) -> None:
        """A first load that is over says so, and how much it was."""
        if not self._bus.settled:
            return
        key = f"{self._key}/{view.feed.topic}"
        said = self._books.manifests.get(key)
        numbers = said and (said["grant"], said["begin"], said["entities"], said["records"])
        over = view.loads and view.load.end >= view.begin
        due = (view.feed.digest, view.begin, len(view.standing or ()), view.loaded) if over else None
        if numbers != due:
            message = f"the manifest of {key} says {numbers}, due was {due}"
            self._report.add(Kind.ATOMICITY, names.ROUTER_STATE, -1, -1, message)

    def _judge_aborted(self, tracks: Iterable[Track], reading: Reading) -> None:
        """Aborted deliveries can be read too: each must have been allowed, as if it counted."""
        waiting = [track for track in tracks if track.stream.aborted]
        if not waiting:
            return
        wanted = {offset for track in waiting for offset in track.stream.aborted}
        sources = {
            entry.offset: entry for entry in Reading(self._bus, self._place).committed() if entry.offset in wanted
        }
        for track in waiting:
            for offset, delivered in track.stream.aborted.items():
                for each in delivered:
                    if offset not in sources and reading.incomplete:
                        continue
                    self._report.checked[Kind.LEAK] += 1
                    if (reason := self._unallowed(track.view, sources.get(offset), each)) is not None:
                        track.findings.append(Finding(Kind.LEAK, *track.place, each.offset, f"aborted, and {reason}"))

    def _unallowed(self, view: View, entry: Entry | None, found: Delivered) -> str | None:
        """Why an aborted delivery should never have been written, None where it was allowed."""
        if entry is None:
            return f"{found.source_offset} is no committed source record"
        if not view.feed.active(found.version) or entry.millis >= view.feed.until:
            return f"the view was not fed under policy version {found.version}"
        try:
            record = self._source.read(entry, found.version)
        except NotOfItsSchema:
            return f"source record {entry.offset} is bad"
        projection = view.projection(found.version)
        if found.body is None:
            return None if found.key == entry.key and not found.extra else "key or headers are not the source's"
        if record is None or not projection.lets_in(record):
            return f"source record {entry.offset} is not for this view"
        fields = projection.of(record)
        # Before its begin was written down a view may have tried to begin earlier, and stood still meanwhile.
        kinds = [{}, {"event_kind": "SNAPSHOT"}] if entry.offset < view.begin else [{}]
        dues = [Due(entry, record, "", {**fields, **kind}, projection) for kind in kinds]
        faults = [next((text for _, text in differences(found, due, view.feed, None, None)), None) for due in dues]
        return None if None in faults else faults[-1]

    def _emit(self, track: Track, source: Reading) -> None:
        reading = track.stream.reading
        checked = self._report.checked
        checked[Kind.EDGE] += track.stream.edge is not None
        checked[Kind.MISSING] += track.due
        checked[Kind.VIEW] += track.views
        for kind in _OF_EVERY_DELIVERY:
            checked[kind] += track.compared
        gaps = reading.incomplete or source.incomplete
        self._report.extend(each for each in track.findings if not (gaps and each.kind in _NEED_ALL))
        withdrawn = track.stream.edge is not None and reading.extent.start >= track.stream.edge
        if reading.incomplete and not withdrawn:
            self._report.doubt(f"{reading.place[0]}/{reading.place[1]} is not complete any more")
        self._doubt_open(reading)

    def _doubt_open(self, reading: Reading) -> None:
        """What stands in a transaction without an end was neither delivered nor given up."""
        if reading.open_from is not None:
            topic, partition = reading.place
            self._report.doubt(f"{topic}/{partition}: a transaction stays open from {reading.open_from} on")
