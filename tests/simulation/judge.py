"""What a history must have come to, by a few lines of its own: quick enough to be asked after each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from simulation.kafka import Cluster
from simulation.policies import PARTITIONS, RESOURCE, SOUND, PolicyLog

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
    for partition in range(PARTITIONS):
        yield from _books(cluster, partition)
        for span in spans:
            if (span.topic, partition) in cluster.logs:
                yield from _view(cluster, partition, span)


def _span(policy: PolicyLog, granted: Granted) -> Span:
    grant = granted.grant
    division = grant.row_rule[0].values[0] if grant.row_rule else None
    halts = [*policy.halts.get(RESOURCE, []), *policy.halts.get(grant.number, [])]
    return Span(granted.topic, division, grant.until_millis, *policy.spans[grant.number], halts)


def _view(cluster: Cluster, partition: int, span: Span) -> Iterator[str]:
    place = span.topic, partition
    got = [_seen(entry) for entry in cluster.read(place)]
    if [each.seq for each in got] != list(range(1, len(got) + 1)):
        yield f"{place}: bus_seq {[each.seq for each in got]}"
    begun = _state(cluster, partition, span.topic)
    wanted = [] if begun is None else list(_expected(cluster.logs[SOURCE, partition], begun.begin, span))
    if span.end is not None:
        wanted = wanted[: len(got)]
    if (found := [(each.offset, each.what) for each in got]) != wanted:
        yield f"{place}: {found} instead of {wanted}"
    # An aborted record can be read too: what is nobody's business is not written on the hope of an abort.
    for version in (_seen(entry).policy for entry in cluster.logs[place] if entry.marker is None):
        if version < span.begin or (span.end is not None and version >= span.end):
            yield f"{place}: written under policy {version}, in force from {span.begin} to {span.end}"
        if any(begin <= version and (end is None or version < end) for begin, end in span.halts):
            yield f"{place}: written under policy {version}, while it stood still"
    if span.edge is not None and cluster.end(place) != span.edge[str(partition)]:
        yield f"{place}: the log ends at {cluster.end(place)}, its edge is {span.edge[str(partition)]}"


def _expected(log: Sequence[Entry], begin: int, span: Span) -> Iterator[tuple[int, str]]:
    """Each offset that the view delivers, and as what."""
    last = {entry.key: entry.offset for entry in log[:begin] if _is_sound(entry)}
    held, cut = set[bytes | None](), False
    for entry in log:
        early = entry.offset < begin
        if not _is_sound(entry) or (early and (entry.value is None or last[entry.key] != entry.offset)):
            continue
        cut |= entry.millis >= span.until
        inside = entry.value is not None and span.division in (None, SOUND[entry.value])
        if cut:
            continue
        if inside:
            held.add(entry.key)
            yield entry.offset, "SNAPSHOT" if early else "CHANGED"
        elif span.division is None:
            yield entry.offset, "removed"
        elif entry.key in held:
            held.discard(entry.key)
            yield entry.offset, "removed" if entry.value is None else "retracted"


def _books(cluster: Cluster, partition: int) -> Iterator[str]:
    """The journal covers the source without a hole; what is bad was quarantined, once."""
    key, at = position_key(SOURCE, partition).encode(), 0
    for entry in cluster.read((names.JOURNAL, 0)):
        if entry.key == key:
            noted = JournalEntry.decode(entry.value or b"")
            if noted.begin != at:
                yield f"the journal of {partition} goes on at {noted.begin} after {at}"
            at = noted.end
    log = cluster.logs[SOURCE, partition]
    if at != len(log):
        yield f"the journal of {partition} ends at {at}, its source at {len(log)}"
    notes = [Quarantined.decode(entry.value or b"") for entry in cluster.read((names.QUARANTINE, 0))]
    quarantined = [note.offset for note in notes if note.partition == partition]
    if quarantined != (bad := [entry.offset for entry in log if not _is_sound(entry)]):
        yield f"quarantined of {partition} is {quarantined}, bad is {bad}"


def _is_sound(entry: Entry) -> bool:
    return entry.value is None or entry.value in SOUND


def _state(cluster: Cluster, partition: int, topic: str) -> ViewPosition | None:
    wanted = view_key(SOURCE, partition, topic).encode()
    states = cluster.read((names.ROUTER_STATE, position_partition(SOURCE, partition)))
    values = [entry.value for entry in states if entry.key == wanted and entry.value is not None]
    return ViewPosition.decode(values[-1]) if values else None


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
