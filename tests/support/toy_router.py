"""A router for made-up histories: slow, plain, and by hand. What it writes is right by construction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from bianhe.consumers.checker.log import Entry, Marker, Place, Rule
from support.history import FILTERED, MASKED, OPEN, SOURCE, VIEWS, History, Made, Progress, Written, book, framed

ROUTER = 7


class Transaction:
    """Everything between a begin and the markers of its end."""

    def __init__(self, made: Made) -> None:
        self._made = made
        self._places: set[Place] = set()

    def write(self, place: Place, key: bytes, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> None:
        self._places.add(place)
        self._made.bus.append(place, Entry(0, self._made.millis, key, value, tuple(headers), ROUTER, 0, True))

    def end(self, marker: Marker) -> None:
        for place in sorted(self._places):
            self._made.bus.append(place, Entry(0, self._made.millis, b"", b"", (), ROUTER, 0, True, marker))


def standing(made: Made, partition: int, record: Written, begin: int) -> bool:
    """Whether a record was the last of its entity when the view began."""
    later = (each for each in made.sources[partition] if record.offset < each.offset < begin)
    return record.person is not None and not any(each.sound and each.key == record.key for each in later)


def counts(made: Made, partition: int, record: Written, begin: int) -> bool:
    return record.sound and (record.offset >= begin or standing(made, partition, record, begin))


def held(made: Made, partition: int, topic: str, record: Written) -> bool:
    """Whether the view holds the entity before this record."""
    begin = made.views[partition, topic].begin
    for earlier in reversed(made.sources[partition]):
        if earlier.offset < record.offset and earlier.key == record.key and counts(made, partition, earlier, begin):
            return earlier.person is not None and VIEWS[topic].lets_in(earlier.person)
    return False


def deliver(made: Made, partition: int, topic: str, record: Written, seq: int, null: str) -> tuple[Any, ...]:
    """Key, value and headers of one delivery."""
    bus = {"bus_offset": record.offset, "bus_seq": seq, "bus_policy": made.version}
    if null:
        return record.key, None, [("bus_kind", null.encode()), *((name, b"%d" % bus[name]) for name in bus)]
    assert record.person is not None
    view, person = VIEWS[topic], record.person
    event = {name: person[name] for name in ("event_id", "event_kind", "event_time", "event_case")}
    if record.offset < made.views[partition, topic].begin:
        event["event_kind"] = "SNAPSHOT"
    return record.key, framed(view.schema_id, view.schema, {**bus, **event, **view.of(person)}), ()


class Flow:
    """What one transaction does for some views over some records."""

    def __init__(self, made: Made, partition: int, transaction: Transaction) -> None:
        self._made, self._partition, self._transaction = made, partition, transaction
        self.shares: dict[str, dict[str, Any]] = {}
        self.cut: set[str] = set()

    def route(self, topic: str, record: Written) -> None:
        made, partition = self._made, self._partition
        progress = made.views[partition, topic]
        share = self.shares.setdefault(topic, {"topic": topic, "records": 0, "kept_back": 0, "last_seq": progress.seq})
        if topic == FILTERED and record.millis >= made.until:
            self.cut.add(topic)
        filtered = topic == FILTERED
        holds = filtered and held(made, partition, topic, record)
        if topic in self.cut or progress.cut or (record.person is None and filtered and not holds):
            share["kept_back"] += 1
            return
        null = ""
        if record.person is None:
            null = "removed"
        elif not VIEWS[topic].lets_in(record.person):
            share["kept_back"] += 1
            if not holds:
                return
            null = "retracted"
        share["records"] += 1
        share["last_seq"] += 1
        self._transaction.write((topic, partition), *deliver(made, partition, topic, record, share["last_seq"], null))

    def close(self, key: bytes, begin: int, end: int, bad: int) -> None:
        views = [self.shares[topic] for topic in sorted(self.shares)]
        entry = {"begin": begin, "end": end, "policy_version": self._made.version, "quarantined": bad, "views": views}
        self._transaction.write(("bus.journal", 0), key, book("journal", entry))

    def state(self, topic: str, progress: Progress) -> None:
        key = f"{SOURCE}/{self._partition}/{topic}".encode()
        fields = {name: getattr(progress, name) for name in ("begin", "seq", "position", "cut", "joined")}
        self._transaction.write(("bus.router-state", 0), key, book("view", fields))

    def manifest(self, topic: str, records: int) -> None:
        """What stood when the view began, and how much of it was delivered."""
        made, partition = self._made, self._partition
        begin = made.views[partition, topic].begin
        before = [record for record in made.sources[partition] if record.sound and record.offset < begin]
        stood = sum(standing(made, partition, record, begin) for record in before)
        numbers = {"begin": begin, "entities": stood, "records": records, "policy_version": made.version}
        key = f"manifest/{SOURCE}/{partition}/{topic}".encode()
        self._transaction.write(
            ("bus.router-state", 0), key, book("manifest", {"grant": made.digests[topic], **numbers})
        )

    def keep(self, end: int) -> None:
        """The transaction counts: the views are where it brought them."""
        for topic, share in self.shares.items():
            progress = self._made.views[self._partition, topic]
            progress.seq, progress.position = share["last_seq"], end
            progress.cut |= topic in self.cut
            self.state(topic, progress)


def live(made: Made, partition: int, count: int, aborted: bool = False) -> None:
    """Route the next records of a partition in one transaction, which may come to nothing."""
    begin = made.positions[partition]
    records = [record for record in made.sources[partition] if record.offset >= begin][:count]
    if not records:
        return
    transaction = Transaction(made)
    flow = Flow(made, partition, transaction)
    end, key = records[-1].offset + 1, f"{SOURCE}/{partition}".encode()
    for record in records:
        if not record.sound:
            _quarantine(transaction, partition, record)
            continue
        for topic in sorted(made.active):
            if made.views[partition, topic].joined:
                flow.route(topic, record)
    flow.close(key, begin, end, sum(not record.sound for record in records))
    state = book("position", {"position": end, "policy_version": made.version})
    transaction.write(("bus.router-state", 0), key, state)
    if not aborted:
        flow.keep(end)
        made.positions[partition] = end
    transaction.end(Marker.ABORT if aborted else Marker.COMMIT)


def load(made: Made, partition: int, topic: str, count: int, aborted: bool = False) -> None:
    """One transaction of a first load, or of catching up after it stood still."""
    progress = made.views[partition, topic]
    if progress.joined or topic not in made.active:
        return
    begin, limit = progress.position, made.positions[partition]
    records = [record for record in made.sources[partition] if begin <= record.offset < limit][:count]
    transaction = Transaction(made)
    flow = Flow(made, partition, transaction)
    if not records:
        progress.joined = True
        flow.state(topic, progress)
        transaction.end(Marker.COMMIT)
        return
    first = progress.seq
    for record in records:
        if counts(made, partition, record, progress.begin):
            flow.route(topic, record)
            first = flow.shares[topic]["last_seq"] if record.offset < progress.begin else first
    end = records[-1].offset + 1
    flow.close(f"{SOURCE}/{partition}/{topic}".encode(), begin, end, 0)
    if begin < progress.begin <= end:
        flow.manifest(topic, first)
    if not aborted:
        flow.keep(end)
        progress.position = end
        progress.joined = end == limit
        flow.state(topic, progress)
    transaction.end(Marker.ABORT if aborted else Marker.COMMIT)


def announce(made: Made) -> None:
    """The state of views that have begun."""
    for partition in range(made.partitions):
        transaction = Transaction(made)
        for topic in sorted(made.active | made.suspended | made.stopped):
            Flow(made, partition, transaction).state(topic, made.views[partition, topic])
        transaction.end(Marker.COMMIT)


def _quarantine(transaction: Transaction, partition: int, record: Written) -> None:
    value = record.value or b""
    note = {"topic": SOURCE, "partition": partition, "offset": record.offset, "reason": "bad"}
    digest = hashlib.sha256(value).hexdigest()
    transaction.write(("bus.quarantine", 0), b"", book("quarantined", {**note, "digest": digest, "size": len(value)}))


def rules(revoked: Iterable[str] = (), stopped: str = "") -> Mapping[int, frozenset[Rule]]:
    """The access rules of two brokers, as sync would leave them, where a department is stopped too."""
    readers = {"renshe": FILTERED, "tongji": MASKED, "zhufang": OPEN}
    found = [Rule(who, "READ", "TOPIC", topic) for who, topic in readers.items() if topic not in set(revoked)]
    found += [Rule(who, "READ", "GROUP", f"{who}.main") for who in ("gongan", *readers)]
    found = [each for each in found if each.account != stopped]
    found += [
        Rule("gongan", "WRITE", "TOPIC", SOURCE),
        Rule("bus-router", "READ", "TOPIC", "source.", "PREFIXED"),
        Rule("bus-router", "WRITE", "TOPIC", "grant.", "PREFIXED"),
        Rule("bus-relay", "WRITE", "TOPIC", "bus.policy"),
    ]
    return {1: frozenset(found), 2: frozenset(found)}


def random_history(seed: int) -> History:
    """A clean history: publishing, routing, aborts, grants, loads, suspensions, stops, an ended term, a revocation."""
    made = Made(seed, partitions=1 + seed % 2, until_day=20_000 if seed % 3 == 0 else 40_000)
    chance = made.chance
    made.open_city()
    announce(made)
    revoked: list[str] = []
    for _ in range(chance.randrange(8, 16)):
        partition = chance.randrange(made.partitions)
        match chance.randrange(13):
            case 0 if FILTERED not in made.active | made.suspended | set(revoked) and made.stop is None:
                made.grant_filtered()
                announce(made)
            case 1 if MASKED not in made.active | made.suspended | set(revoked) and made.stop is None:
                made.grant_masked()
                announce(made)
            case 2 if MASKED in made.active | made.suspended | made.stopped and chance.random() < 0.3:
                made.revoke(MASKED, "G-2026-0002")
                revoked.append(MASKED)
            case 3:
                made.millis += chance.choice((0, 18)) * 3_600_000
            case 4:
                live(made, partition, chance.randrange(1, 5), aborted=True)
            case 5:
                for topic in (OPEN, FILTERED, MASKED):
                    if (partition, topic) in made.views:
                        load(made, partition, topic, chance.randrange(1, 5), aborted=chance.random() < 0.3)
            case 6:
                live(made, partition, chance.randrange(1, 9))
            case 7 | 8:
                for topic, number in ((FILTERED, "G-2026-0001"), (MASKED, "G-2026-0002")):
                    if topic in made.active and chance.random() < 0.5:
                        made.suspend(topic, number)
                        announce(made)
                    elif topic in made.suspended and made.stop is None:
                        made.resume(topic, number)
            case 9 | 10 if made.stop is not None:
                made.lift()
            case 9 | 10:
                made.break_glass(*chance.choice((("department", "renshe"), ("resource", "people"))))
                announce(made)
            case _:
                for _ in range(chance.randrange(1, 7)):
                    kinds = ("person", "removal", "rubbish", "identity", "aborted")
                    made.publish(partition, chance.choices(kinds, (8, 2, 1, 1, 1))[0])
    if chance.random() < 0.8:
        if made.stop is not None and chance.random() < 0.8:
            made.lift()
        for partition in range(made.partitions):
            live(made, partition, 1000)
            for topic in (OPEN, FILTERED, MASKED):
                if (partition, topic) in made.views:
                    load(made, partition, topic, 1000)
    target, code = made.stop or ("", "")
    closed = {OPEN, FILTERED, MASKED} if target == "resource" else missing(made, revoked)
    made.bus.rules = dict(rules(closed, code))
    return made.bus


def missing(made: Made, revoked: Iterable[str]) -> set[str]:
    """The mailboxes that nobody may read: not granted yet, or not any more."""
    return {FILTERED, MASKED} - made.active - made.suspended - made.stopped | set(revoked)
