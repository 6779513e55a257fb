"""Whatever happens to the router or the broker, each department gets each record once, in order, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
from faults.proxy import Proxy
from structlog.testing import capture_logs

from bianhe.consumers.checker.findings import Verdict
from bianhe.consumers.router.kafka import worker
from bianhe.consumers.router.kafka.writer import WorkerStops
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.settings import read_secret
from bianhe.registry.quarantine.kafka import noted, releases, standing
from bianhe.schemas.lanes import Deliver
from bianhe.schemas.names import QUARANTINE, ROUTER_ACCOUNT, ROUTER_STATE, mailbox
from bianhe.schemas.records.journal import JournalEntry, Quarantined
from bianhe.schemas.records.state import STATE_PARTITIONS, worker_key
from bianhe.schemas.view import grant_view, open_view
from bianhe.schemas.wire import Reason
from support.broker import eventually
from support.city import ROUTER, City, a_city
from support.judged import judged
from support.policy_bodies import MAILBOX, OPEN, SOURCE, channel, granted, population, writers
from support.records import contract, person

PARTITIONS = 4
RULE = "residence_division prefix 410212"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with a_city(tmp_path_factory.mktemp("city")) as running:
        running.decide(writers(2), population(PARTITIONS), channel(), granted(RULE))
        yield running
        report = judged(running)
        assert report.verdict is Verdict.VALID, (report.findings, report.unknown)


class Flow:
    """Publishes a plausible stream and knows, by its own few lines, what must come of it."""

    def __init__(self, city: City, seed: int) -> None:
        self._city = city
        self._chance = random.Random(seed)
        self._numbers = count()
        self.written: list[tuple[bytes, str | None]] = []

    def publish(self, records: int) -> None:
        for _ in range(records):
            key = f"entity-{self._chance.randrange(200)}".encode()
            division = self._chance.choice(["410212", "410202", None])
            value = None if division is None else person(residence_division=division, address=str(next(self._numbers)))
            self._city.publish(SOURCE, key, value)
            self.written.append((key, division))

    def entered(self) -> dict[bytes, list[str]]:
        """What the mailbox must get for each entity: enter, retract or remove, in order."""
        held: set[bytes] = set()
        expected: dict[bytes, list[str]] = {}
        for key, division in self.written:
            if division == "410212":
                held.add(key)
                expected.setdefault(key, []).append("record")
            elif key in held:
                held.remove(key)
                expected.setdefault(key, []).append("null")
        return expected


def as_router(city: City) -> Connection:
    password = read_secret(city.secrets / ROUTER_ACCOUNT)
    return replace(city.broker.connection(), account=ROUTER_ACCOUNT, password=password)


def judge(city: City, flow: Flow) -> None:
    report = judged(city)
    assert report.verdict is Verdict.VALID, (report.findings, report.unknown)
    opened = city.delivered(OPEN, open_view(contract()).schema(), PARTITIONS)
    assert sum(map(len, opened.values())) == len(flow.written)
    for partition in opened.values():
        numbers = [value["bus_seq"] for _, value in partition if value is not None]
        nulls = sum(value is None for _, value in partition)
        assert len(set(numbers)) == len(numbers) == len(partition) - nulls
        assert max(numbers, default=0) <= len(partition)
        assert numbers == sorted(numbers)
    by_key: dict[bytes, list[str | None]] = {}
    for partition in opened.values():
        for key, value in partition:
            by_key.setdefault(key, []).append(value["residence_division"] if value else None)
    wanted: dict[bytes, list[str | None]] = {}
    for key, division in flow.written:
        wanted.setdefault(key, []).append(division)
    assert by_key == wanted
    schema = grant_view(contract(), granted(RULE).grant).schema()
    mailbox: dict[bytes, list[str]] = {}
    for partition in city.delivered(MAILBOX, schema, PARTITIONS).values():
        for key, value in partition:
            mailbox.setdefault(key, []).append("record" if value else "null")
    assert mailbox == flow.entered()


def publish_until_it_writes(city: City, flow: Flow) -> None:
    """Return when the first of what was just published is on its way, in a transaction that may still be open."""
    with Admin(city.broker.connection()) as admin:

        def written() -> int:
            return sum(admin.end_offsets(OPEN, "read_uncommitted").values())

        before = written()
        flow.publish(600)
        assert city.source.flush(60) == 0
        assert eventually(lambda: written() > before)


def revived(children: Children, worker: str) -> bool:
    return eventually(lambda: children.revive() == [worker])


def test_b27_kill_minus_nine_of_routers_and_broker_loses_and_doubles_nothing(city: City, tmp_path: Path) -> None:
    flow, second = Flow(city, seed=1), Children(tmp_path, city.environment)
    for step in range(4):
        publish_until_it_writes(city, flow)
        if step == 1:
            city.broker.kill()
            city.broker.restart()
        city.children.kill(ROUTER)
        assert revived(city.children, ROUTER)
    second.start("router-1", "bianhe.consumers.router", "1")
    for children, dies in ((second, "router-1"), (city.children, ROUTER), (second, "router-1")):
        publish_until_it_writes(city, flow)
        children.kill(dies)
        flow.publish(600)
        assert revived(children, dies)

    # A router that meets a broker coming back may end more than once; its supervisor starts it anew.
    def all_routed() -> bool:
        return not second.revive() and not city.children.revive() and city.routed(SOURCE, seconds=1)

    assert eventually(all_routed, 90)
    second.stop()
    judge(city, flow)


def test_b27_a_commit_that_never_returns_ends_its_worker(city: City, tmp_path: Path) -> None:
    city.children.stop()
    with Proxy(int(city.broker.bootstrap.rpartition(":")[2])) as proxy:
        children = Children(tmp_path, {**city.environment, "BIANHE_KAFKA__BOOTSTRAP": proxy.bootstrap})
        children.start(ROUTER, "bianhe.consumers.router", "0")
        assert eventually(lambda: children.log(ROUTER).read_text().count("recovered") == PARTITIONS)
        # The client asks three times and then waits for ever (ADR 0015).
        proxy.coordinator_away = 3
        Flow(city, seed=3).publish(40)
        assert revived(children, ROUTER)
        assert "in commit" in children.log(ROUTER).read_text()
        children.stop()
    city.children.start(ROUTER, "bianhe.consumers.router", "0")
    assert city.routed(SOURCE)


def test_a_worker_that_no_revocation_would_wait_for_waits_and_does_not_write(city: City) -> None:
    steps = iter(range(40))
    with capture_logs() as said:
        worker.Worker(as_router(city), 2, bytes(32), Limits()).run(lambda: next(steps, None) is None)
    assert [line["event"] for line in said] == ["not enlisted"]
    written = {record.key for _, record in city.records(ROUTER_STATE, STATE_PARTITIONS)}
    assert written
    assert worker_key("bus.router.2").encode() not in written


def test_the_journal_covers_every_position_once(city: City) -> None:
    ends: dict[bytes, int] = {}
    for _, record in city.records("bus.journal", 4):
        assert record.key is not None
        entry = JournalEntry.decode(record.value or b"")
        assert entry.begin == ends.get(record.key, 0)
        assert entry.end > entry.begin
        ends[record.key] = entry.end
    assert ends == {f"{SOURCE}/{p}".encode(): end for p, end in city.positions(SOURCE).items()}


def test_a_worker_that_stops_within_a_transaction_commits_nothing_of_it(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    Flow(city, seed=2).publish(40)
    assert city.routed(SOURCE)
    before = len(city.delivered(OPEN, open_view(contract()).schema(), PARTITIONS)[0])
    city.children.stop()
    for number in range(3):
        city.source.produce(SOURCE, person(address=f"halfway {number}"), f"halfway-{number}", 0)
    assert city.source.flush(60) == 0

    aim = PartitionState.aim

    def third_is_half_refused(state: PartitionState, route: Route) -> None:
        aim(state, route)
        for head, deliver in state.delivering.items():
            state.delivering[head] = partial(half_refused, deliver)

    def half_refused(deliver: Deliver, value: bytes, *others: int) -> list[bytes | None]:
        values = deliver(value, *others)
        return [*values[:-1], bytes(5_000_000)] if b"halfway 2" in value else values

    monkeypatch.setattr(PartitionState, "aim", third_is_half_refused)
    with pytest.raises(WorkerStops, match="MSG_SIZE_TOO_LARGE"):
        worker.Worker(as_router(city), 0, bytes(32), Limits()).run(lambda: False)
    city.children.start(ROUTER, "bianhe.consumers.router", "0")
    assert city.routed(SOURCE)
    after = city.delivered(OPEN, open_view(contract()).schema(), PARTITIONS)[0][before:]
    assert [key for key, _ in after] == [b"halfway-0", b"halfway-1", b"halfway-2"]
    assert [value["bus_seq"] for _, value in after if value] == [before + 1, before + 2, before + 3]


def test_a_grant_that_is_not_synced_holds_nobody_up_and_misses_nothing(city: City) -> None:
    first = granted()
    grant = first.grant.model_copy(update={"number": "G-2026-0002", "department": "tongji"})
    topic = mailbox("tongji", "population", 1, "G-2026-0002")
    city.decide(first.model_copy(update={"grant": grant, "digest": grant.digest, "topic": topic}), synced=False)
    transactions = len(list(city.records("bus.journal", 4)))
    for number in range(400):
        city.publish(SOURCE, b"before-sync", person(address=f"address {number}"))
    assert city.routed(SOURCE)
    assert len(list(city.records("bus.journal", 4))) < transactions + 200
    city.sync()
    city.publish(SOURCE, b"after-sync", person())
    schema = grant_view(contract(), grant).schema()

    def kinds() -> dict[bytes, str]:
        records = [record for partition in city.delivered(topic, schema, PARTITIONS).values() for record in partition]
        return {key: value["event_kind"] for key, value in records if value}

    assert eventually(lambda: {b"before-sync": "SNAPSHOT", b"after-sync": "CHANGED"}.items() <= kinds().items())


BAD: dict[str, tuple[bytes, bytes, str]] = {
    "b19-unknown-schema-id": (b"bad", person(schema_id=4711), "schema id 4711"),
    "b20-truncated": (b"bad", person()[:-2], Reason.TRUNCATED),
    "b21-trailing-bytes": (b"bad", person() + b"\0", Reason.TRAILING),
    "b22-wrong-union-index": (b"bad", person()[:-1] + b"\x04", Reason.UNION),
    "b23-invalid-utf-8": (b"bad", person(name="abcd").replace(b"abcd", b"ab\xff\xfe"), Reason.TEXT),
    "b24-too-large": (b"bad", person(address="x" * 1_000_000), "too large"),
    "b25-identity-number-as-key": (b"410202199001010018", person(), "the key is a valid identity number"),
}
"""Key and value as a provider's own client may write them, and the reason why they are not trusted."""


@pytest.fixture(scope="module")
def notes(city: City) -> list[Quarantined]:
    """What stands on bus.quarantine after all of it was published in one flow, with a good record behind it."""
    for key, value, _ in BAD.values():
        city.publish(SOURCE, key, value)
    city.publish(SOURCE, b"entity-after", person())
    assert city.routed(SOURCE)
    return [Quarantined.decode(record.value or b"") for _, record in city.records(QUARANTINE, 1)]


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_trusted_is_quarantined_with_its_place_and_reason(
    city: City, notes: list[Quarantined], bad: str
) -> None:
    _, value, reason = BAD[bad]
    [note] = [note for note in notes if note.digest == sha256(value).hexdigest()]
    assert (note.topic, note.size) == (SOURCE, len(value))
    assert reason in note.reason
    with LogReader(city.broker.connection(), SOURCE, note.partition, group="test", start=note.offset) as reader:
        assert reader.read_to_end()[0].value == value


def test_quarantine_holds_nothing_up_and_delivers_nothing(city: City, notes: list[Quarantined]) -> None:
    digests = {sha256(value).hexdigest() for _, value, _ in BAD.values()}
    assert sorted(note.digest for note in notes if note.digest in digests) == sorted(digests)
    opened = city.delivered(OPEN, open_view(contract()).schema(), PARTITIONS)
    keys = {key for partition in opened.values() for key, _ in partition}
    assert b"entity-after" in keys
    assert keys.isdisjoint(key for key, _, _ in BAD.values())


def test_b24_a_record_above_its_topics_limit_is_refused_by_the_broker(city: City) -> None:
    told: list[str] = []
    value = person(address="x" * 1_100_000)
    city.source.produce(SOURCE, value, b"bad", on_delivery=lambda error, _: told.append(error.name() if error else ""))
    assert city.source.flush(30) == 0
    assert told == ["MSG_SIZE_TOO_LARGE"]


def test_a_source_of_which_too_much_is_bad_stands_still_until_an_administrator_lets_it_go_on(city: City) -> None:
    admin = city.broker.connection()
    for number in range(250):
        city.source.produce(SOURCE, person()[:-1], f"bulk-{number}", 0)
    assert city.source.flush(60) == 0
    assert eventually(lambda: standing(admin, city.policy) != [])
    [stopped] = standing(admin, city.policy)
    assert (stopped.topic, stopped.partition, stopped.standstill.quarantined) == (SOURCE, 0, 100)
    city.decide(*releases(admin, [stopped], "published rightly", "ops"))
    assert city.routed(SOURCE)
    assert standing(admin, city.policy) == []
    assert sum(note.partition == 0 and note.size == len(person()[:-1]) for note in noted(admin)) == 250


def test_a_source_whose_mailbox_somebody_deleted_waits_for_it_and_holds_up_no_other(tmp_path: Path) -> None:
    other = "source.zoning.v1"
    with a_city(tmp_path) as city:
        city.decide(writers(), population(), granted(), population(code="zoning"))
        city.publish(SOURCE, b"entity-1", person())
        assert city.routed(SOURCE)
        city.children.kill(ROUTER)
        somebody = clients.admin(city.broker.connection())
        somebody.delete_topics([MAILBOX])[MAILBOX].result(30)
        before = city.positions(SOURCE)
        city.publish(SOURCE, b"entity-1", person())
        city.publish(other, b"entity-2", person())
        assert city.routed(other), city.children.log(ROUTER).read_text()
        assert city.positions(SOURCE) == before
        assert "is not there any more" in city.children.log(ROUTER).read_text()
