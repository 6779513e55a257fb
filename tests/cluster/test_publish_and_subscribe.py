"""From a provider's call to a subscriber's loop, on a whole bus; and vanilla clients instead of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import DeserializingConsumer, SerializingProducer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import StringSerializer

from bianhe.consumers import Event, Subscriber
from bianhe.consumers import kafka as consumers
from bianhe.consumers.subscriber import NothingGranted
from bianhe.consumers.verification.kafka import verify
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.errors import BrokerUnreachable, LoginRefused, RefusedByBroker
from bianhe.infra.schema_registry import RegistryRefused, RegistryUnreachable, SchemaRegistry
from bianhe.infra.settings import MissingSecret, Profile, read_secret
from bianhe.producers import InvalidEvent, Publisher
from bianhe.producers.kafka import NotAProvider, Receipt
from bianhe.producers.keys import EntityKeys
from bianhe.registry.policy.kafka import read_policy
from bianhe.schemas.contract import shipped
from bianhe.schemas.policy import GrantState
from support.broker import eventually
from support.command_line import bianhe
from support.exchange import MAILBOX_ITEMS, MAILBOX_READER, OPEN_READER, PROVIDER, UNGRANTED, Exchange, exchange
from support.rows import POPULATION, SECRET, number, person

OPEN = "open.population.v1.r1"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with exchange(tmp_path_factory.mktemp("exchange")) as running:
        yield running


def received(city: Exchange, department: str, count: int, client: str = "main") -> list[Event]:
    """The next events of a department; the router delivers in its own time."""
    events = []
    with Subscriber.from_profile(city.profile(department, client)) as subscriber:
        for event in subscriber:
            events.append(event)
            if len(events) == count:
                subscriber.acknowledge()
                break
    return events


def key_of(sequence: int) -> str:
    return EntityKeys(POPULATION.key, SECRET).key({"citizen_id": number(sequence)}, date(2026, 11, 22))


def test_each_department_gets_its_own_view_and_restarts_where_it_stopped(city: Exchange) -> None:
    receipts: list[Receipt] = []
    moved = {"citizen_id": number(1), "name": "张某某", "residence_division": "410212"}
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        population.publish(person(**moved), "CREATED")  # the first receipt is asked for in the middle
        population.publish(person(**moved | {"residence_division": "410202"}), on_receipt=receipts.append)
        population.publish(person(**moved | {"status": "2"}), case="Y-2026-0001", on_receipt=receipts.append)
        population.remove(number(1), on_receipt=receipts.append)
    assert publisher.delivered == 4
    assert [receipt.topic for receipt in receipts] == ["source.population.v1"] * 3
    assert [receipt.offset for receipt in receipts] == sorted(receipt.offset for receipt in receipts)

    events = received(city, OPEN_READER, 2) + received(city, OPEN_READER, 2)
    assert [event.kind for event in events] == ["CREATED", "CHANGED", "CHANGED", "REMOVED"]
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + 4))
    assert {event.key for event in events} == {key_of(1)}
    assert events[0].items == dict.fromkeys(POPULATION.unconditional) | person(**moved)
    assert (events[2].case, events[3].removed, events[3].items) == ("Y-2026-0001", True, {})

    masked = received(city, MAILBOX_READER, 4)
    assert [event.kind for event in masked] == ["CREATED", "RETRACTED", "CHANGED", "REMOVED"]
    assert masked[0].items == {"name": "张", "status": "1", "residence_division": "410212", "migrated_on": None}


def test_a_break_leaves_the_current_event_unacknowledged(city: Exchange) -> None:
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        for sequence in range(2, 8):
            population.publish(person(citizen_id=number(sequence)))
    wanted = {key_of(sequence) for sequence in range(2, 8)}
    profile = city.profile(OPEN_READER, "main")
    seen: list[str] = []
    while len(seen) < 3:
        with Subscriber.from_profile(profile) as subscriber:
            for event in subscriber.drain():
                seen.append(event.key)
                if len(seen) == 3:
                    break
    with Subscriber.from_profile(profile) as subscriber:
        again = next(iter(subscriber))
        assert again.key == seen[-1]
    assert {event.key for event in received(city, OPEN_READER, 4)} | set(seen) == wanted


def test_an_event_is_handed_out_when_it_is_there_and_waits_for_no_others(
    city: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WAIT_SECONDS", 300.0)
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        publisher.resource("population").publish(person(citizen_id=number(9)))
    assert [event.key for event in received(city, OPEN_READER, 1)] == [key_of(9)]


def test_batches_are_acknowledged_whole(city: Exchange) -> None:
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        for sequence in range(10, 30):
            population.publish(person(citizen_id=number(sequence)))
    keys: list[str] = []
    with Subscriber.from_profile(city.profile(OPEN_READER)) as subscriber:
        for batch in subscriber.batches():
            keys += [event.key for event in batch]
            if len(keys) == 20:
                subscriber.acknowledge()
                break
    assert sorted(keys) == sorted(key_of(sequence) for sequence in range(10, 30))
    with Subscriber.from_profile(city.profile(OPEN_READER)) as subscriber:
        assert list(subscriber.drain()) == []


def test_an_invalid_event_is_refused_at_once_and_the_rest_goes_on(city: Exchange) -> None:
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        with pytest.raises(InvalidEvent) as raised:
            population.publish(person(sex="5"))
        assert raised.value.field == "sex"
        population.publish(person(citizen_id=number(40)))
    assert publisher.delivered == 1
    assert [event.key for event in received(city, OPEN_READER, 1)] == [key_of(40)]


def test_who_provides_nothing_or_holds_no_grant_is_told_so(city: Exchange) -> None:
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher, pytest.raises(NotAProvider):
        publisher.resource("licence")
    with pytest.raises(NothingGranted):
        Subscriber.from_profile(city.profile(UNGRANTED))
    with pytest.raises(NothingGranted, match="licence"):
        Subscriber.from_profile(city.profile(OPEN_READER), ["licence"])


def test_b31_a_wrong_password_is_an_error_for_everyone(city: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, reader = city.profile(PROVIDER), city.profile(OPEN_READER)
    monkeypatch.setenv("BIANHE_PASSWORD", "wrong")
    for open_client in (Publisher.from_profile, Subscriber.from_profile):
        with pytest.raises(LoginRefused, match="refused account") as raised:
            open_client(provider if open_client == Publisher.from_profile else reader)
        assert "wrong" not in str(raised.value)
        assert "bianhe account rotate" in raised.value.cure


def test_b26_a_broker_that_is_down_at_start_is_an_error_within_seconds(city: Exchange, tmp_path: Path) -> None:
    profile = tmp_path / "away.toml"
    text = city.profile(OPEN_READER).read_text().replace(city.bus.broker.bootstrap, "127.0.0.1:1")
    profile.write_text(text.replace('"password"', f'"{city.profiles / OPEN_READER / "password"}"'))
    for open_client in (Publisher.from_profile, Subscriber.from_profile):
        with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1"):
            open_client(profile)


def test_a_password_file_that_others_can_read_is_refused(city: Exchange, tmp_path: Path) -> None:
    profile = tmp_path / "open.toml"
    profile.write_text(city.profile(OPEN_READER).read_text())
    with pytest.raises(MissingSecret):
        Subscriber.from_profile(profile)
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(MissingSecret, match="others can read"):
        Subscriber.from_profile(profile)


def test_the_registry_client_tells_refused_from_unknown_from_away(city: Exchange) -> None:
    profile = Profile.read(city.profile(OPEN_READER))
    password = read_secret(city.profiles / OPEN_READER / "password")
    with SchemaRegistry(profile.registry, OPEN_READER, password) as registry:
        found = registry.latest(f"{OPEN}-value")
        assert json.loads(registry.by_id(found.id)) == json.loads(found.text)
    with SchemaRegistry(profile.registry, UNGRANTED, password) as registry, pytest.raises(RegistryRefused):
        registry.by_id(found.id)
    with SchemaRegistry("http://127.0.0.1:1", OPEN_READER, password) as registry, pytest.raises(RegistryUnreachable):
        registry.by_id(found.id)


def test_access_that_ends_in_the_middle_is_an_error_and_never_silence(city: Exchange) -> None:
    rule = AccessRule(f"User:{MAILBOX_READER}", "TOPIC", mailbox(city), "READ")
    with Subscriber.from_profile(city.profile(MAILBOX_READER)) as subscriber:
        list(subscriber.drain())
        with Admin(city.bus.broker.connection()) as admin:
            admin.delete_rules([rule])
        try:
            with pytest.raises(RefusedByBroker, match="TOPIC_AUTHORIZATION_FAILED"):
                next(iter(subscriber))
        finally:
            with Admin(city.bus.broker.connection()) as admin:
                admin.create_rules([rule])


def mailbox(city: Exchange) -> str:
    with Subscriber.from_profile(city.profile(MAILBOX_READER)) as subscriber:
        [topic] = subscriber.topics
    return topic


def test_a_vanilla_serializing_producer_is_accepted(city: Exchange) -> None:
    with registry_client(city, PROVIDER) as registry:
        serializer = AvroSerializer(registry, shipped("population", 1), conf={"auto.register.schemas": False})
        settings = {
            "partitioner": "murmur2_random",
            "key.serializer": StringSerializer(),
            "value.serializer": serializer,
        }
        producer = SerializingProducer(login(city, PROVIDER) | settings)
        now = datetime(2026, 11, 22, 9, tzinfo=UTC)
        head = {"event_id": "0199b3c4-5d6e-7f80-9123-456789abcdef", "event_kind": "CHANGED", "event_time": now}
        items = dict.fromkeys(POPULATION.by_name) | person(citizen_id=number(50))
        producer.produce("source.population.v1", key=key_of(50), value=head | {"event_case": None} | items)
        producer.close()
    [event] = received(city, OPEN_READER, 1)
    assert (event.key, event.id, event.items["name"]) == (key_of(50), head["event_id"], "王某")


def test_a_vanilla_deserializing_consumer_reads_what_is_granted(city: Exchange) -> None:
    with registry_client(city, OPEN_READER) as registry:
        settings = {"group.id": f"{OPEN_READER}.main", "value.deserializer": AvroDeserializer(registry)}
        consumer = DeserializingConsumer(login(city, OPEN_READER) | settings)
        try:
            consumer.subscribe([OPEN])
            with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
                publisher.resource("population").publish(person(citizen_id=number(51)))
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            assert message.key() == key_of(51).encode()
            value = message.value()
            assert isinstance(value, dict)
            assert value["name"] == "王某"
            consumer.commit(asynchronous=False)
        finally:
            consumer.close()


def login(city: Exchange, department: str) -> dict[str, Any]:
    city.profile(department)
    return {
        "bootstrap.servers": city.bus.broker.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": department,
        "sasl.password": read_secret(city.profiles / department / "password").get_secret_value(),
    }


def registry_client(city: Exchange, department: str) -> SchemaRegistryClient:
    secret = login(city, department)["sasl.password"]
    return SchemaRegistryClient({"url": city.bus.settings.registry, "basic.auth.user.info": f"{department}:{secret}"})


def test_a_department_checks_for_itself_what_was_written_for_it_and_a_narrower_grant_comes_after_the_old_one(
    city: Exchange,
) -> None:
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        for sequence in range(60, 80):
            population.publish(person(citizen_id=number(sequence), residence_division="410212"))
    late = "tongji"
    grant = city.grant(late, MAILBOX_ITEMS)
    assert eventually(lambda: loaded(city, late), 60)
    for department in (late, MAILBOX_READER, OPEN_READER):
        done = bianhe("subscribe", "--verify", "--profile", city.profile(department), "--output", "json")
        rows = json.loads(done.stdout)
        assert (done.returncode, [row["verdict"] for row in rows]) == (0, ["valid"] * 4), done.stdout + done.stderr
        assert all(row["records"] == row["last"] == row["written"] for row in rows)
    found = verify(Profile.read(city.profile(late)))
    assert sum(each.records for each in found) >= 20
    assert {each.told.first_load and each.told.first_load.grant for each in found} == {grant.digest}

    narrower = city.grant(late, MAILBOX_ITEMS[:2], changes=grant.number)
    policy = read_policy(city.bus.broker.connection())
    before, after = policy.grants[grant.number], policy.grants[narrower.number]
    assert before.state in (GrantState.EFFECTIVE, GrantState.CLOSED)
    assert eventually(lambda: loaded(city, late), 60)
    found = verify(Profile.read(city.profile(late)))
    assert {(each.topic, each.verdict) for each in found} == {(after.topic, "valid")}


def loaded(city: Exchange, department: str) -> bool:
    """Whether every partition of what a department reads has had its first load."""
    found = verify(Profile.read(city.profile(department)))
    return all(each.told.first_load for each in found)
