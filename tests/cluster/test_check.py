"""The checker on a real bus: valid as it was routed, invalid after one forged record, online and from a dump."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bianhe.consumers.checker import kafka
from bianhe.consumers.checker.bus_records import read_books
from bianhe.consumers.checker.findings import Kind, Report, Verdict
from bianhe.consumers.checker.judgement import check
from bianhe.consumers.checker.streams import Dump, NoDump, make_folder
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.raw_log import RawLogs
from bianhe.schemas import names
from support.broker import eventually
from support.city import ROUTER, City, a_city
from support.judged import PSEUDONYM_KEY, judged
from support.policies import department, records
from support.policy_bodies import MAILBOX, SOURCE, channel, granted, population, writers
from support.records import person

PARTITIONS = 2


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city that has routed bad records, a row rule, a mask, pseudonyms and a first load."""
    with a_city(tmp_path_factory.mktemp("city")) as running:
        running.decide(writers(), population(PARTITIONS), channel())
        publish(running, 300)
        assert running.routed(SOURCE)
        running.decide(granted("residence_division prefix 410212", ("citizen_id=first:6", "name=pseudonym")))
        publish(running, 300)
        assert running.routed(SOURCE)
        assert eventually(lambda: judged(running).verdict is Verdict.VALID and not waits(running))
        yield running


def publish(city: City, records: int) -> None:
    chance = random.Random(records)
    for number in range(records):
        division = chance.choice(["410212", "410202", None])
        value = None if division is None else person(residence_division=division, address=str(number))
        city.publish(SOURCE, f"entity-{chance.randrange(60)}".encode(), value)
    city.publish(SOURCE, b"nobody", b"rubbish")


def waits(city: City) -> bool:
    """Whether the first load still goes on."""
    connection = city.broker.connection()
    with RawLogs(connection) as logs:
        books = read_books(kafka.Cluster(logs, connection), Report())
    return not all(books.views.get(f"{SOURCE}/{number}/{MAILBOX}", {}).get("joined") for number in range(PARTITIONS))


def test_a_bus_is_valid_online_and_from_a_dump_until_a_record_stands_there_that_nobody_routed(
    city: City, tmp_path: Path
) -> None:
    online = judged(city)
    kafka.dump_cluster(city.broker.connection(), tmp_path / "dump")
    keys = city.broker.connection().policy_keys
    offline = check(Dump(tmp_path / "dump"), PSEUDONYM_KEY, policy_keys=keys)
    assert (online.findings, online.unknown) == ([], [])
    assert offline.verdict is Verdict.VALID
    assert offline.checked == online.checked
    assert online.checked[Kind.PROJECTION] > 600
    assert online.checked[Kind.ACCESS] > 0
    with pytest.raises(NoDump):
        make_folder(tmp_path / "dump")

    # a record that nobody routed
    forger = clients.producer(city.broker.connection())
    forged = b"\0" + (102).to_bytes(4, "big") + b"\xfe\xff\x03" + b"\2\2rest"
    forger.produce(MAILBOX, forged, b"entity-1", 0)
    assert forger.flush(30) == 0
    (finding,) = judged(city).findings
    assert finding.kind is Kind.LEAK
    assert (finding.topic, finding.partition) == (MAILBOX, 0)
    assert "rest" not in str(finding)


def test_without_the_pseudonym_key_the_verdict_is_unknown(city: City) -> None:
    report = kafka.check_cluster(city.broker.connection(), None)
    assert report.verdict is not Verdict.VALID
    assert any("pseudonyms" in reason for reason in report.unknown)


def test_a_router_does_not_act_on_a_record_that_the_relay_did_not_sign(city: City) -> None:
    """Last: it leaves the log broken."""
    (forged,) = records([department("shangwu")], city.policy)
    city.relay.begin_transaction()
    city.relay.produce(names.POLICY, forged.encode())
    city.relay.commit_transaction(30)
    assert eventually(lambda: city.children.ended(ROUTER), 30)
    assert "is not signed" in city.children.log(ROUTER).read_text(encoding="utf-8")
    assert any("signed by no key" in str(finding) for finding in judged(city).findings)
