"""What a history must have come to, by a few lines of its own: quick enough to be asked after each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from simulation.kafka import Cluster
from simulation.policies import LIMITS, PARTITIONS, RESOURCE, SOUND, PolicyLog

from bianhe.consumers.checker.log import Entry
from bianhe.schemas import names
from bianhe.schemas.contract import EVENT_KINDS
from bianhe.schemas.lanes import NO_TERM
from bianhe.schemas.records.journal import JournalEntry, Quarantined
from bianhe.schemas.records.policy import Granted
from bianhe.schemas.records.state import ViewPosition, position_key, position_partition, view_key
from support.policy_bodies import OPEN, SOURCE

_HEAD: Final = 5
_EVENT_ID: Final = 37


class Seen(NamedTuple):
    """A delivery as a subscriber could read it: its coordinates, and what it says of the entity."""

    offset: int
    seq: int
    policy: int
    what: str


class Happened(NamedTuple):
    """A source record: whether it can be trusted, and where the entity is since, None where it was removed."""

    offset: int
    key: bytes | None
    millis: int
    is_sound: bool
    division: str | None


class Span(NamedTuple):
    """What a view lets in, and under which policy versions it may be written."""

    topic: str
    division: str | None
    until: int
    begin: int
    end: int | None
    edge: Mapping[str, int] | None
    halts: Sequence[tuple[int, int | None]]
    """From which version to before which one it stood still."""


def judge(cluster: Cluster, policy: PolicyLog) -> Iterator[str]:
    """Everything that is wrong with a history that has come to rest."""
    halts = policy.halts.get(RESOURCE, [])
    spans = [Span(OPEN, None, NO_TERM, 1, None, None, halts), *(_span(policy, granted) for granted in policy.given)]
    journal = cluster.read((names.JOURNAL, 0))
    quarantine = [Quarantined.decode(entry.value or b"") for entry in cluster.read((names.QUARANTINE, 0))]
    for partition in range(PARTITIONS):
        source = [_happened(entry) for entry in cluster.logs[SOURCE, partition]]
        yield from _books(source, partition, journal, quarantine)
        yield from _standing(source, cluster, policy, partition, journal)
        place = names.ROUTER_STATE, position_partition(SOURCE, partition)
        states = {entry.key: entry.value for entry in cluster.read(place)}
        for span in spans:
            if (span.topic, partition) in cluster.logs:
                value = states.get(view_key(SOURCE, partition, span.topic).encode())
                begin = None if value is None else ViewPosition.decode(value).begin
                yield from _view(cluster, partition, span, source, begin)


def _span(policy: PolicyLog, granted: Granted) -> Span:
    grant = granted.grant
    division = grant.row_rule[0].values[0] if grant.row_rule else None
    halts = [*policy.halts.get(RESOURCE, []), *policy.halts.get(grant.number, [])]
    return Span(granted.topic, division, grant.until_millis, *policy.spans[grant.number], halts)


def _view(cluster: Cluster, partition: int, span: Span, source: Sequence[Happened], begin: int | None) -> Iterator[str]:
    place = span.topic, partition
    written = {entry.offset: _seen(entry) for entry in cluster.logs[place] if entry.marker is None}
    got = [written[entry.offset] for entry in cluster.read(place)]
    if (numbers := [each.seq for each in got]) != list(range(1, len(got) + 1)):
        yield f"{place}: bus_seq {numbers}"
    wanted = [] if begin is None else list(_expected(source, begin, span))
    if span.end is not None:
        wanted = wanted[: len(got)]
    if (found := [(each.offset, each.what) for each in got]) != wanted:
        yield f"{place}: {found} instead of {wanted}"
    # An aborted record can be read too: what is nobody's business is not written on the hope of an abort.
    for version in sorted({each.policy for each in written.values()}):
        if version < span.begin or (span.end is not None and version >= span.end):
            yield f"{place}: written under policy {version}, in force from {span.begin} to {span.end}"
        if any(begin <= version and (end is None or version < end) for begin, end in span.halts):
            yield f"{place}: written under policy {version}, while it stood still"
    if span.edge is not None and cluster.end(place) != span.edge[str(partition)]:
        yield f"{place}: the log ends at {cluster.end(place)}, its edge is {span.edge[str(partition)]}"


def _expected(source: Sequence[Happened], begin: int, span: Span) -> Iterator[tuple[int, str]]:
    """Each offset that the view delivers, and as what."""
    last = {each.key: each.offset for each in source[:begin] if each.is_sound}
    held = set[bytes | None]()
    for offset, key, millis, is_sound, division in source:
        early = offset < begin
        if not is_sound or (early and (division is None or last[key] != offset)):
            continue
        if millis >= span.until:
            return
        if division is not None and span.division in (None, division):
            held.add(key)
            yield offset, "SNAPSHOT" if early else "CHANGED"
        elif span.division is None:
            yield offset, "removed"
        elif key in held:
            held.discard(key)
            yield offset, "removed" if division is None else "retracted"


def _books(
    source: Sequence[Happened], partition: int, journal: Sequence[Entry], quarantine: Sequence[Quarantined]
) -> Iterator[str]:
    """The journal covers the source without a hole; what is bad was quarantined, once."""
    key, at = position_key(SOURCE, partition).encode(), 0
    for noted in (JournalEntry.decode(entry.value or b"") for entry in journal if entry.key == key):
        if noted.begin != at:
            yield f"the journal of {partition} goes on at {noted.begin} after {at}"
        at = noted.end
    if at != len(source):
        yield f"the journal of {partition} ends at {at}, its source at {len(source)}"
    quarantined = [note.offset for note in quarantine if note.partition == partition]
    if quarantined != (bad := [each.offset for each in source if not each.is_sound]):
        yield f"quarantined of {partition} is {quarantined}, bad is {bad}"


def _standing(
    source: Sequence[Happened], cluster: Cluster, policy: PolicyLog, partition: int, journal: Sequence[Entry]
) -> Iterator[str]:
    """A partition stands still where it must, and nowhere else. Whoever begins to read it counts anew."""
    most, window, place = LIMITS.quarantine_max, LIMITS.quarantine_window, (SOURCE, partition)
    bad = [each.offset for each in source if not each.is_sound]
    standstills = cluster.standstills(place)
    for at in {each.position for each in standstills}:
        before = [offset for offset in bad if at - window < offset < at]
        if at not in bad or len(before) < most:
            yield f"{partition} stood still at {at}, bad before it were {before}"
    released = {offset for stood, before in policy.releases[partition].items() for offset in range(stood, before)}
    key, first, count = position_key(*place).encode(), 0, 0
    for entry in journal:
        if entry.key != key:
            continue
        routed = JournalEntry.decode(entry.value or b"")
        if (entry.producer, entry.epoch, routed.begin) in cluster.begun[place]:
            first, count = 0, 0
        for offset in bad:
            if offset in released or not routed.begin <= offset < routed.end:
                continue
            if offset - first >= window:
                first, count = offset, 0
            count += 1
            if count > most:
                yield f"{partition} did not stand still at {offset}, counted from {first} on"


def _happened(entry: Entry) -> Happened:
    division = SOUND.get(entry.value) if entry.value is not None else None
    return Happened(entry.offset, entry.key, entry.millis, entry.value is None or division is not None, division)


def _seen(entry: Entry) -> Seen:
    if entry.value is None:
        told = dict(entry.headers)
        offset, seq, policy = (int(told[name]) for name in ("bus_offset", "bus_seq", "bus_policy"))
        return Seen(offset, seq, policy, told["bus_kind"].decode())
    at, numbers = _HEAD, list[int]()
    for _ in range(3):
        number = shift = 0
        while True:
            byte = entry.value[at]
            number |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        numbers.append(number >> 1)
    offset, seq, policy = numbers
    return Seen(offset, seq, policy, EVENT_KINDS[entry.value[at + _EVENT_ID] >> 1])
