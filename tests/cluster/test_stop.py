"""Break-glass on a real bus: what is stopped stands still at once, and goes on without loss when it is lifted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bianhe.consumers.checker.findings import Verdict
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import KafkaSettings
from bianhe.registry.acknowledgements.kafka import Acknowledgements
from bianhe.registry.policy.kafka import read_policy, signing_key
from bianhe.registry.stops import kafka as stops
from bianhe.registry.sync import kafka as sync
from bianhe.schemas import names
from bianhe.schemas.records.policy import Body, Lifted, Target
from bianhe.schemas.signatures import Role
from support.broker import eventually
from support.city import ROUTER, City, a_city
from support.judged import judged
from support.policies import AT, department
from support.policy_bodies import MAILBOX, OPEN, SOURCE, channel, granted, population, writers
from support.records import person

PARTITIONS = 2


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with a_city(tmp_path_factory.mktemp("city")) as running:
        running.decide(writers(), department("gongan"), department("renshe"), population(PARTITIONS), channel())
        running.decide(granted("residence_division prefix 410212"))
        publish(running)
        assert running.routed(SOURCE)
        yield running


def publish(city: City, records: int = 60) -> None:
    for number in range(records):
        division = ("410212", "410202")[number % 3 == 0]
        city.publish(SOURCE, f"entity-{number % 40}".encode(), person(residence_division=division))


def stop(city: City, target: Target, code: str) -> None:
    """By break-glass; returns when the router has obeyed."""
    settings = KafkaSettings(bootstrap=city.broker.bootstrap, secrets=city.secrets)
    account = component(settings, names.BREAK_GLASS_ACCOUNT)
    number = stops.stop(account, signing_key(city.secrets, Role.BREAK_GLASS), target, code, "演练", "值班员", AT)
    obeyed(city, number)


def obeyed(city: City, version: int) -> None:
    with Acknowledgements(city.broker.connection()) as acknowledgements:
        assert eventually(lambda: acknowledgements.of("bus.router.0").policy_version >= version, 60)


def decide(city: City, body: Body) -> None:
    """By a relay that break-glass had shut out."""
    city.policy = read_policy(city.broker.connection())
    city.relay = clients.transactional_producer(city.broker.connection(), names.RELAY_TRANSACTIONAL_ID)
    city.relay.init_transactions(30)
    city.decide(body)
    obeyed(city, city.policy.version)


@pytest.fixture(scope="module")
def each_time(city: City) -> int:
    """What a publication brings to the mailbox: entities that come, and those that leave."""
    before = count(city, MAILBOX)
    publish(city)
    assert city.routed(SOURCE)
    return count(city, MAILBOX) - before


def count(city: City, topic: str) -> int:
    return sum(1 for _ in city.records(topic, PARTITIONS))


def readers(city: City) -> set[tuple[str, str]]:
    rules = sync.observe(city.broker.connection()).rules
    return {(rule.account, rule.name) for rule in rules if rule.operation == "READ" and rule.kind == "TOPIC"}


def test_a_stopped_department_gets_nothing_more_and_all_of_it_when_lifted(city: City, each_time: int) -> None:
    stop(city, Target.DEPARTMENT, "renshe")
    assert stops.close(city.broker.connection(), city.secrets) > 0
    assert ("renshe", MAILBOX) not in readers(city)
    stood, flowed = count(city, MAILBOX), count(city, OPEN)
    publish(city)
    assert city.routed(SOURCE)
    city.children.kill(ROUTER)
    city.children.revive()
    publish(city)
    assert city.routed(SOURCE)
    assert (count(city, MAILBOX), count(city, OPEN)) == (stood, flowed + 120)
    assert judged(city).verdict is Verdict.VALID, judged(city)

    decide(city, Lifted(target=Target.DEPARTMENT, code="renshe", decided_by="分管领导"))
    assert ("renshe", MAILBOX) in readers(city)
    publish(city)
    assert city.routed(SOURCE)
    assert eventually(lambda: count(city, MAILBOX) == stood + 3 * each_time, 60)
    assert eventually(lambda: judged(city).verdict is Verdict.VALID, 30), judged(city)


def test_of_a_stopped_resource_nothing_is_written_nor_read_and_lifted_it_catches_up(city: City, each_time: int) -> None:
    stop(city, Target.RESOURCE, "population")
    assert stops.close(city.broker.connection(), city.secrets) > 0
    assert not {name for _, name in readers(city)} & {MAILBOX, OPEN}
    stood = count(city, MAILBOX), count(city, OPEN)
    publish(city)
    assert city.routed(SOURCE)
    assert (count(city, MAILBOX), count(city, OPEN)) == stood
    assert judged(city).verdict is Verdict.VALID, judged(city)

    decide(city, Lifted(target=Target.RESOURCE, code="population", decided_by="分管领导"))
    assert eventually(lambda: (count(city, MAILBOX), count(city, OPEN)) == (stood[0] + each_time, stood[1] + 60), 60)
    assert eventually(lambda: judged(city).verdict is Verdict.VALID, 30), judged(city)
