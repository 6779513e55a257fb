"""Whatever happens to the router or the broker, each department gets each record once, in order, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

import pytest

from bianhe.schemas.names import QUARANTINE
from bianhe.schemas.records.journal import JournalEntry, Quarantined
from bianhe.schemas.view import grant_view, open_view
from support.broker import eventually
from support.city import ROUTER, City, a_city
from support.policy_bodies import MAILBOX, OPEN, SOURCE, channel, granted, population, writers
from support.records import contract, person

PARTITIONS = 4
RULE = "residence_division prefix 410212"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with a_city(tmp_path_factory.mktemp("city")) as running:
        running.decide(writers(), population(PARTITIONS), channel(), granted(RULE))
        yield running


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


def judge(city: City, flow: Flow) -> None:
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


def test_b27_kill_minus_nine_of_router_and_broker_loses_and_doubles_nothing(city: City) -> None:
    flow = Flow(city, seed=1)
    for step in range(12):
        flow.publish(400)
        if step % 4 == 3:
            city.broker.kill()
            city.broker.restart()
        city.children.kill(ROUTER)
        assert eventually(lambda: city.children.revive() == [ROUTER])
    flow.publish(400)
    # A router that meets a broker coming back may end more than once; its supervisor starts it anew.
    assert eventually(lambda: city.children.revive() == [] and city.routed(SOURCE, seconds=1), 90)
    judge(city, flow)


def test_the_journal_covers_every_position_once(city: City) -> None:
    ends: dict[bytes, int] = {}
    for _, record in city.records("bus.journal", 4):
        assert record.key is not None
        entry = JournalEntry.decode(record.value or b"")
        assert entry.begin == ends.get(record.key, 0)
        assert entry.end > entry.begin
        ends[record.key] = entry.end
    assert ends == {f"{SOURCE}/{p}".encode(): end for p, end in city.positions(SOURCE).items()}


def test_what_cannot_be_trusted_is_quarantined_and_holds_nothing_up(city: City) -> None:
    bad = {
        "an unknown schema id": (b"entity-1", person(schema_id=4711)),
        "cut short": (b"entity-1", person()[:-2]),
        "too long": (b"entity-1", person() + b"\0"),
        "an identity number as key": (b"410202199001010018", person()),
        "text that is no UTF-8": (b"entity-1", person(name="abcd").replace(b"abcd", b"ab\xff\xfe")),
    }
    for key, value in bad.values():
        city.publish(SOURCE, key, value)
    city.publish(SOURCE, b"entity-after", person())
    assert city.routed(SOURCE)
    notes = [Quarantined.decode(record.value or b"") for _, record in city.records(QUARANTINE, 1)]
    assert len(notes) == len(bad)
    assert all(note.topic == SOURCE and note.reason for note in notes)
    opened = city.delivered(OPEN, open_view(contract()).schema(), PARTITIONS)
    assert any(key == b"entity-after" for partition in opened.values() for key, _ in partition)
