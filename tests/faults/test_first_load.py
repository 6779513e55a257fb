"""A grant that begins on a full register gets what stands, once, and then every change, whatever dies meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

from bianhe.consumers.checker.findings import Verdict
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.records.state import ViewPosition, position_partition, view_key
from bianhe.schemas.view import grant_view
from support.broker import eventually
from support.city import ROUTER, City, a_city
from support.first_load import RULE, the_view
from support.judged import judged
from support.policy_bodies import MAILBOX, SOURCE, channel, granted, population, writers
from support.records import contract, person, read

PARTITIONS = 2
VALUES = [person(residence_division="410212"), person(residence_division="410202"), None]


def publish(city: City, chance: random.Random, records: int) -> None:
    for _ in range(records):
        city.publish(SOURCE, b"entity-%d" % chance.randrange(2000), chance.choices(VALUES, [5, 4, 1])[0])


def views(city: City) -> list[ViewPosition]:
    """The mailbox's last written state, by partition."""
    return [view(city, partition) for partition in range(PARTITIONS)]


def view(city: City, partition: int) -> ViewPosition:
    wanted = view_key(SOURCE, partition, MAILBOX).encode()
    number = position_partition(SOURCE, partition)
    with LogReader(city.broker.connection(), names.ROUTER_STATE, number, group="test") as reader:
        states = [record.value for record in reader.read_to_end() if record.key == wanted]
    return ViewPosition.decode(states[-1] or b"")


def written(city: City) -> int:
    """How many records the mailbox has, with markers and what was aborted."""
    with Admin(city.broker.connection()) as admin:
        return sum(admin.end_offsets(MAILBOX, "read_uncommitted").values())


def kill_while_it_writes(city: City) -> None:
    before = written(city)
    assert eventually(lambda: written(city) > before)
    city.children.kill(ROUTER)


def test_a_first_load_under_traffic_and_kills_gives_each_entity_once_and_then_every_change(tmp_path: Path) -> None:
    chance = random.Random(11)
    with a_city(tmp_path) as city:
        city.decide(writers(), population(PARTITIONS), channel())
        publish(city, chance, 20_000)
        assert city.routed(SOURCE)
        city.decide(granted(RULE))
        for _ in range(4):
            publish(city, chance, 1_000)
            assert city.source.flush(60) == 0
            kill_while_it_writes(city)
            assert eventually(lambda: city.children.revive() == [ROUTER])
        assert city.routed(SOURCE)
        assert eventually(lambda: all(view.joined for view in views(city)), 60)
        publish(city, chance, 1_000)
        assert city.routed(SOURCE)

        report = judged(city)
        assert report.verdict is Verdict.VALID, (report.findings, report.unknown)
        ends = views(city)
        assert all(end.begin > 0 for end in ends)
        schema = grant_view(contract(), granted(RULE).grant).schema()
        for partition in range(PARTITIONS):
            source = [record for number, record in city.records(SOURCE, PARTITIONS) if number == partition]
            received = [record for number, record in city.records(MAILBOX, PARTITIONS) if number == partition]
            kinds = [read(schema, record.value)["event_kind"] if record.value else "null" for record in received]
            expected = the_view(source, ends[partition].begin, RULE)
            assert list(zip([record.key for record in received], kinds, strict=True)) == expected
            numbers = [read(schema, record.value)["bus_seq"] for record in received if record.value]
            assert numbers == sorted(set(numbers))
            assert ends[partition].seq == len(received)
