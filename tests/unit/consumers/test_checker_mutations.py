"""Every corruption of a valid history is found, and nothing else is: the checker is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import rfc8785

from bianhe.consumers.checker.findings import Kind, Verdict
from bianhe.consumers.checker.log import Entry, Marker
from support.history import FILTERED, MASKED, OPEN, SOURCE, STOP_KEY
from support.mutations import (
    ACCESS,
    JOURNAL,
    POLICY,
    QUARANTINE,
    STATE,
    Change,
    Record,
    Subject,
    judged,
    read,
    source_offset,
    subject,
    wider,
    write,
)

OPENED, BOX, LOADED = (OPEN, 0), (FILTERED, 0), (MASKED, 0)
IDENTITY_NUMBER = b"11010519491231002X"


def late(entry: Entry, record: Record) -> bool:
    return bool(10 < record["bus_offset"] < 25)


def snapshot(entry: Entry, record: Record) -> bool:
    return bool(record["event_kind"] == "SNAPSHOT")


def repeat(s: Subject, later: int) -> None:
    index = s.pick(OPEN, late)
    s.insert(OPENED, index + 1 + later, s.log(OPENED)[index])


def swap(s: Subject) -> None:
    index = s.pick(OPEN, late)
    log = s.log(OPENED)
    log[index], log[index + 1] = log[index + 1], log[index]
    s.bus.renumber(OPENED)


def move(s: Subject, places: int) -> None:
    index = s.pick(OPEN, late)
    entry = s.log(OPENED).pop(index)
    s.insert(OPENED, index + places, entry)


def header(s: Subject, topic: str, index: int, name: str, value: bytes) -> None:
    headers = tuple((n, value if n == name else v) for n, v in s.log((topic, 0))[index].headers)
    s.alter((topic, 0), index, headers=headers)


def number(s: Subject, topic: str, field: str, by: int) -> None:
    index = s.pick(topic, late)
    s.rewrite(topic, index, **{field: read(topic, s.log((topic, 0))[index])[field] + by})


def leak(s: Subject, topic: str, offset: int, aborted: bool = False, shape: str = "") -> None:
    record = next(r for r in s.made.sources[0] if r.offset == offset)
    index, entry = s.forge(topic, record, shape)
    if aborted:
        entry = entry._replace(producer=99)
        s.insert((topic, 0), index, Entry(0, 0, b"", b"", (), 99, 0, True, Marker.ABORT))
    s.insert((topic, 0), index, entry)


def not_let_in(s: Subject) -> int:
    """A source record that the row rule keeps back, and that retracts nothing."""
    there = {source_offset(FILTERED, s.log(BOX)[index]) for index in s.data(BOX)}
    return s.written(lambda r: r.sound and r.person is not None and r.offset not in there).offset


def overlong(s: Subject) -> None:
    """bus_* fields as they are, the length of event_id in one byte more than it takes."""
    index = s.pick(OPEN, late)
    value = s.log(OPENED)[index].value or b""
    at = value.index(b"\x48" + b"00000000-")
    s.alter(OPENED, index, value=value[:at] + b"\xc8\x00" + value[at + 1 :])


def unmask(s: Subject, topic: str, item: str) -> None:
    index = s.pick(topic, lambda entry, record: record["bus_offset"] < 25 and len(record["name"]) == 2)
    offset = read(topic, s.log((topic, 0))[index])["bus_offset"]
    person = next(r.person for r in s.made.sources[0] if r.offset == offset)
    assert person is not None
    s.rewrite(topic, index, **{item: person[item]})


def flip(s: Subject, topic: str) -> None:
    log = s.log((topic, 0))
    index = next(i for i, entry in enumerate(log) if entry.marker is Marker.COMMIT)
    s.alter((topic, 0), index, marker=Marker.ABORT)


def journal(s: Subject, field: str, by: int) -> None:
    def change(fields: Record) -> None:
        if field in fields:
            fields[field] += by
        else:
            fields["views"][0][field] += by

    s.rebook(JOURNAL, "journal", s.data(JOURNAL)[1], change)


def last_state(s: Subject, key: str) -> int:
    return max(i for i in s.data(STATE) if s.log(STATE)[i].key == key.encode())


def state(s: Subject, key: str, name: str, field: str, by: int) -> None:
    s.rebook(STATE, name, last_state(s, key), lambda fields: fields.update({field: fields[field] + by}))


def forget(s: Subject, key: str) -> None:
    s.log(STATE)[:] = [entry for entry in s.log(STATE) if entry.key != key.encode()]
    s.bus.renumber(STATE)


def note(s: Subject, **changes: object) -> None:
    s.rebook(QUARANTINE, "quarantined", s.data(QUARANTINE)[0], lambda fields: fields.update(changes))


def good_noted(s: Subject) -> None:
    index = s.data(QUARANTINE)[0]
    good = s.written(lambda r: r.sound)
    s.insert(QUARANTINE, index + 1, s.log(QUARANTINE)[index])
    s.rebook(QUARANTINE, "quarantined", index + 1, lambda fields: fields.update(offset=good.offset))


def repeat_at(s: Subject, place: tuple[str, int], index: int) -> None:
    s.insert(place, index + 1, s.log(place)[index])


def at_edge(s: Subject, aborted: bool) -> None:
    entry = s.log(LOADED)[s.data(LOADED)[-1]]
    s.bus.append(LOADED, entry)
    s.bus.append(LOADED, Entry(0, 0, b"", b"", (), entry.producer, 0, True, Marker.ABORT if aborted else Marker.COMMIT))


def fork(s: Subject) -> None:
    log = s.log(POLICY)
    s.insert(POLICY, 2, log[1]._replace(value=(log[1].value or b"").replace(b"gongan", b"shangwu")))


def resign(s: Subject, signature: str) -> None:
    newest = len(s.log(POLICY)) - 1
    record = json.loads(s.log(POLICY)[newest].value or b"")
    s.alter(POLICY, newest, value=rfc8785.dumps({**record, "signature": signature}))


def by_break_glass(s: Subject) -> None:
    record = json.loads(s.log(POLICY)[-1].value or b"")
    del record["signature"]
    resign(s, STOP_KEY.sign(rfc8785.dumps(record)).hex())


def swap_policy(s: Subject) -> None:
    log = s.log(POLICY)
    log[1], log[2] = log[2], log[1]
    s.bus.renumber(POLICY)


DELIVERIES: Mapping[str, tuple[Change, Kind]] = {
    "a delivery is gone": (lambda s: s.drop(OPENED, s.pick(OPEN, late)), Kind.MISSING),
    "the first delivery is gone": (lambda s: s.drop(OPENED, s.data(OPENED)[0]), Kind.MISSING),
    "the last delivery is gone": (lambda s: s.drop(OPENED, s.data(OPENED)[-1]), Kind.MISSING),
    "a retraction is gone": (lambda s: s.drop(BOX, s.null(FILTERED, b"retracted")), Kind.MISSING),
    "a removal is gone": (lambda s: s.drop(OPENED, s.null(OPEN, b"removed")), Kind.MISSING),
    "a snapshot is gone": (lambda s: s.drop(LOADED, s.pick(MASKED, snapshot)), Kind.MISSING),
    "a delivery stands twice": (lambda s: repeat(s, 0), Kind.DOUBLE),
    "a delivery stands twice, apart": (lambda s: repeat(s, 5), Kind.DOUBLE),
    "a snapshot stands twice": (lambda s: repeat_at(s, LOADED, s.pick(MASKED, snapshot)), Kind.DOUBLE),
    "a retraction stands twice": (lambda s: repeat_at(s, BOX, s.null(FILTERED, b"retracted")), Kind.DOUBLE),
    "two deliveries change places": (swap, Kind.ORDER),
    "a delivery comes later": (lambda s: move(s, 4), Kind.ORDER),
    "a delivery comes earlier": (lambda s: move(s, -4), Kind.ORDER),
    "bus_seq is one more": (lambda s: number(s, OPEN, "bus_seq", 1), Kind.SEQUENCE),
    "bus_seq is one less": (lambda s: number(s, FILTERED, "bus_seq", -1), Kind.SEQUENCE),
    "bus_seq of a null": (lambda s: header(s, OPEN, s.null(OPEN, b"removed"), "bus_seq", b"77"), Kind.SEQUENCE),
    "bus_policy is one more": (lambda s: number(s, OPEN, "bus_policy", 1), Kind.VERSION),
    "bus_policy is one less": (lambda s: number(s, FILTERED, "bus_policy", -1), Kind.VERSION),
    "bus_policy of a null": (lambda s: header(s, OPEN, s.null(OPEN, b"removed"), "bus_policy", b"1"), Kind.VERSION),
    "bus_offset is another": (lambda s: number(s, OPEN, "bus_offset", 3), Kind.PROJECTION),
    "bus_offset is none": (lambda s: number(s, OPEN, "bus_offset", 5000), Kind.PROJECTION),
    "an item is another": (lambda s: s.rewrite(OPEN, s.pick(OPEN, late), name="别人"), Kind.PROJECTION),
    "a pseudonym is another": (lambda s: s.rewrite(MASKED, s.pick(MASKED), name="0" * 32), Kind.PROJECTION),
    "a constant is another": (lambda s: s.rewrite(MASKED, s.pick(MASKED), level="any"), Kind.PROJECTION),
    "the time is another": (lambda s: s.rewrite(OPEN, s.pick(OPEN, late), event_time=1), Kind.PROJECTION),
    "a snapshot is called an event": (
        lambda s: s.rewrite(MASKED, s.pick(MASKED, snapshot), event_kind="CREATED"),
        Kind.PROJECTION,
    ),
    "the key is another's": (lambda s: s.alter(OPENED, s.pick(OPEN, late), key=b"entity-x"), Kind.PROJECTION),
    "a delivery is cut short": (
        lambda s: s.alter(OPENED, (i := s.pick(OPEN, late)), value=(s.log(OPENED)[i].value or b"")[:-1]),
        Kind.PROJECTION,
    ),
    "a delivery is rubbish": (lambda s: s.alter(OPENED, s.pick(OPEN, late), value=b"rubbish"), Kind.PROJECTION),
    "a retraction is called a removal": (
        lambda s: header(s, FILTERED, s.null(FILTERED, b"retracted"), "bus_kind", b"removed"),
        Kind.PROJECTION,
    ),
    "the same in other bytes": (overlong, Kind.VIEW),
    "one field more": (
        lambda s: s.alter(OPENED, (i := s.pick(OPEN, late)), value=wider(OPEN, s.log(OPENED)[i])),
        Kind.LEAK,
    ),
    "a header": (lambda s: s.alter(OPENED, s.pick(OPEN, late), headers=(("x", b"y"),)), Kind.LEAK),
    "a header on a null": (
        lambda s: s.alter(OPENED, (i := s.null(OPEN, b"removed")), headers=(*s.log(OPENED)[i].headers, ("x", b"y"))),
        Kind.LEAK,
    ),
    "a key that is somebody's": (lambda s: s.alter(OPENED, s.pick(OPEN, late), key=IDENTITY_NUMBER), Kind.LEAK),
    "an item without its mask": (lambda s: unmask(s, FILTERED, "name"), Kind.LEAK),
    "a date instead of its year": (lambda s: unmask(s, FILTERED, "born"), Kind.LEAK),
    "another view's schema": (
        lambda s: s.alter(
            OPENED, (i := s.pick(OPEN, late)), value=b"\0\0\0\0\x66" + (s.log(OPENED)[i].value or b"")[5:]
        ),
        Kind.LEAK,
    ),
    "a value where a null was due": (
        lambda s: s.alter(BOX, s.null(FILTERED, b"retracted"), value=value_of_null(s), headers=()),
        Kind.LEAK,
    ),
    "a record that the row rule keeps back": (lambda s: leak(s, FILTERED, not_let_in(s)), Kind.LEAK),
    "the same in an aborted transaction": (lambda s: leak(s, FILTERED, not_let_in(s), aborted=True), Kind.LEAK),
    "a quarantined record": (lambda s: leak(s, OPEN, s.written(lambda r: not r.sound).offset), Kind.LEAK),
    "a record after the term": (lambda s: leak(s, FILTERED, s.made.sources[0][-8].offset), Kind.LEAK),
    "another department's view": (lambda s: leak(s, FILTERED, not_let_in(s), shape=OPEN), Kind.LEAK),
    "a topic that nobody was granted": (
        lambda s: s.bus.append(("grant.minzheng.people.v1.g-2026-0009", 0), s.log(OPENED)[0]),
        Kind.LEAK,
    ),
    "a source record that was aborted": (lambda s: aborted_source(s), Kind.LEAK),
    "a record at the edge": (lambda s: at_edge(s, aborted=False), Kind.EDGE),
    "an aborted record at the edge": (lambda s: at_edge(s, aborted=True), Kind.EDGE),
}


def value_of_null(s: Subject) -> bytes:
    entry = s.log(BOX)[s.null(FILTERED, b"retracted")]
    record = read(FILTERED, s.log(BOX)[s.pick(FILTERED)])
    headers = {name: int(value) for name, value in entry.headers if name != "bus_kind"}
    return write(FILTERED, {**record, **headers})


def aborted_source(s: Subject) -> None:
    log = s.log((SOURCE, 0))
    offset = next(entry.offset for entry in log if entry.transactional and entry.marker is None)
    record = next(r for r in s.made.sources[0] if r.sound and r.person is not None)
    index, entry = s.forge(OPEN, replace(record, offset=offset))
    s.insert(OPENED, index, entry)


S0 = f"{SOURCE}/0"
MANIFEST = f"manifest/{S0}/{MASKED}"
BOOKED: Mapping[str, tuple[Change, Kind]] = {
    "deliveries aborted, journal committed": (lambda s: flip(s, FILTERED), Kind.ATOMICITY),
    "journal aborted, deliveries committed": (lambda s: flip(s, JOURNAL[0]), Kind.ATOMICITY),
    "state aborted, journal committed": (
        lambda s: s.alter(STATE, len(s.log(STATE)) - 1, marker=Marker.ABORT),
        Kind.ATOMICITY,
    ),
    "a journal entry is gone": (lambda s: s.drop(JOURNAL, s.data(JOURNAL)[1]), Kind.ATOMICITY),
    "the last journal entry is gone": (lambda s: s.drop(JOURNAL, s.data(JOURNAL)[-1]), Kind.ATOMICITY),
    "a journal entry of a first load is gone": (lambda s: s.drop(JOURNAL, s.data(JOURNAL)[3]), Kind.ATOMICITY),
    "a journal entry stands twice": (lambda s: repeat_at(s, JOURNAL, s.data(JOURNAL)[1]), Kind.ATOMICITY),
    "journal ranges overlap": (lambda s: journal(s, "begin", -2), Kind.ATOMICITY),
    "the journal leaves a hole": (lambda s: journal(s, "begin", 2), Kind.ATOMICITY),
    "the journal counts one more": (lambda s: journal(s, "records", 1), Kind.ATOMICITY),
    "the journal kept back one more": (lambda s: journal(s, "kept_back", 1), Kind.ATOMICITY),
    "the journal's last bus_seq": (lambda s: journal(s, "last_seq", -1), Kind.ATOMICITY),
    "the journal quarantined one less": (lambda s: journal(s, "quarantined", -1), Kind.ATOMICITY),
    "the journal is unreadable": (lambda s: s.alter(JOURNAL, s.data(JOURNAL)[1], value=b"x"), Kind.ATOMICITY),
    "the journal's version is to come": (lambda s: journal(s, "policy_version", 500), Kind.VERSION),
    "the position is gone": (lambda s: s.drop(STATE, last_state(s, S0)), Kind.ATOMICITY),
    "the position is too far": (lambda s: state(s, S0, "position", "position", 1), Kind.ATOMICITY),
    "the position is too near": (lambda s: state(s, S0, "position", "position", -1), Kind.ATOMICITY),
    "the state's bus_seq": (lambda s: state(s, f"{S0}/{OPEN}", "view", "seq", 1), Kind.ATOMICITY),
    "a view's state is gone": (lambda s: forget(s, f"{S0}/{OPEN}"), Kind.ATOMICITY),
    "a manifest of another grant": (
        lambda s: s.rebook(STATE, "manifest", last_state(s, MANIFEST), lambda fields: fields.update(grant="0" * 64)),
        Kind.ATOMICITY,
    ),
    "a manifest with one record more": (lambda s: state(s, MANIFEST, "manifest", "records", 1), Kind.ATOMICITY),
    "a manifest with one entity less": (lambda s: state(s, MANIFEST, "manifest", "entities", -1), Kind.ATOMICITY),
    "a first load without its manifest": (lambda s: forget(s, MANIFEST), Kind.ATOMICITY),
    "a bad record is not noted": (lambda s: s.drop(QUARANTINE, s.data(QUARANTINE)[0]), Kind.QUARANTINE),
    "a bad record is noted twice": (lambda s: repeat_at(s, QUARANTINE, s.data(QUARANTINE)[0]), Kind.QUARANTINE),
    "a good record is noted": (good_noted, Kind.QUARANTINE),
    "a note with another digest": (lambda s: note(s, digest="0" * 64), Kind.QUARANTINE),
    "a note with another size": (lambda s: note(s, size=1), Kind.QUARANTINE),
    "a hole in the policy log": (lambda s: s.drop(POLICY, 0), Kind.TIMELINE),
    "a policy record twice": (lambda s: repeat_at(s, POLICY, 1), Kind.TIMELINE),
    "a policy record altered": (
        lambda s: s.alter(
            POLICY, 1, value=(s.log(POLICY)[1].value or b"").replace(b'"title":"gongan"', b'"title":"x"')
        ),
        Kind.TIMELINE,
    ),
    "the newest policy record is not signed": (lambda s: resign(s, ""), Kind.TIMELINE),
    "the newest policy record is signed by a stranger": (lambda s: resign(s, "00" * 64), Kind.TIMELINE),
    "the newest policy record is no stop, and signed by break-glass": (by_break_glass, Kind.TIMELINE),
    "a fork": (fork, Kind.TIMELINE),
    "policy records change places": (swap_policy, Kind.TIMELINE),
    "policy in other bytes": (
        lambda s: s.alter(POLICY, 1, value=(s.log(POLICY)[1].value or b"") + b" "),
        Kind.TIMELINE,
    ),
    "an id again": (lambda s: s.repolicy(2, lambda record: record.update(id="id-1")), Kind.TIMELINE),
    "a grant that is not its hash's": (
        lambda s: s.repolicy(s.policy("granted"), lambda record: record["body"].update(digest="0" * 64)),
        Kind.TIMELINE,
    ),
    "a grant ends that never began": (
        lambda s: s.repolicy(0, lambda record: record.update(body={"kind": "revoked", "grant": "G-1"})),
        Kind.TIMELINE,
    ),
}
ALL = {**DELIVERIES, **BOOKED, **ACCESS}


def test_the_whole_history_is_valid_and_every_judgement_looks_at_something() -> None:
    report = judged(subject().bus)
    assert report.verdict is Verdict.VALID, (report.findings, report.unknown)
    assert all(report.checked[kind] > 0 for kind in Kind)


@pytest.mark.parametrize("name", ALL)
def test_a_single_corruption_gives_exactly_its_finding(name: str) -> None:
    corrupt, kind = ALL[name]
    one = subject()
    corrupt(one)
    assert one.bus != subject().bus
    report = judged(one.bus)
    assert report.kinds == {kind}, [str(finding) for finding in report.findings]
    assert report.verdict is Verdict.INVALID
    assert "王某" not in " ".join(map(str, report.findings))
