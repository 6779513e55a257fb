"""Confluent's own Python client against the registry on a port, with the account of a provider and of a subscriber."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from sqlalchemy import Engine

from bianhe.registry.contracts.registration import schema_text
from bianhe.registry.http import create_app
from bianhe.registry.sharing import sql as sharing
from support.registry import CONTRACTS, NOW, give_passwords, number_all, request

TOPIC = "source.licence.v1"
PASSWORD = "a password of the tests"


@pytest.fixture
def url(city: Engine) -> Iterator[str]:
    """The address of a registry where yibao reads the open channel of the licences."""
    items = CONTRACTS["licence"].unconditional
    sharing.submit(city, request(department="yibao", resource="licence", items=items), NOW)
    number_all(city)
    give_passwords(city, dict.fromkeys(("zhengshuju", "yibao"), PASSWORD))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(city), log_config=None))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        listener.listen()
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def provider(url: str) -> Iterator[SchemaRegistryClient]:
    with _client(url, "zhengshuju") as client:
        yield client


@pytest.fixture
def subscriber(url: str) -> Iterator[SchemaRegistryClient]:
    with _client(url, "yibao") as client:
        yield client


def _client(url: str, account: str, password: str = PASSWORD) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url, "basic.auth.user.info": f"{account}:{password}"})


def _event() -> dict[str, Any]:
    """A licence with text in every string and the epoch in every date."""
    contract = CONTRACTS["licence"]
    values = {item.name: 0 if item.kind == "date" else "x" for item in contract.items if not item.nullable}
    return {**values, "event_id": "x", "event_kind": "CREATED", "event_time": 0}


def _bytes(serializer: AvroSerializer, topic: str = TOPIC) -> bytes:
    value = serializer(_event(), SerializationContext(topic, MessageField.VALUE))
    assert isinstance(value, bytes)
    return value


CONTRACT = schema_text(CONTRACTS["licence"].schema)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"auto.register.schemas": False},
        {"auto.register.schemas": False, "use.latest.version": True},
        {"auto.register.schemas": False, "normalize.schemas": True},
    ],
    ids=str,
)
def test_a_provider_serializes_with_any_of_the_usual_settings(
    provider: SchemaRegistryClient, settings: dict[str, Any]
) -> None:
    value = _bytes(AvroSerializer(provider, CONTRACT, conf=settings))
    latest = provider.get_latest_version(f"{TOPIC}-value")
    assert latest.schema_id is not None
    assert value[:5] == b"\0" + latest.schema_id.to_bytes(4, "big")
    back = AvroDeserializer(provider)(value, SerializationContext(TOPIC, MessageField.VALUE))
    assert isinstance(back, dict)
    assert back["name"] == "x"


def test_a_provider_serializes_under_a_named_schema_id(provider: SchemaRegistryClient) -> None:
    id = provider.get_latest_version(f"{TOPIC}-value").schema_id
    assert id is not None
    value = _bytes(AvroSerializer(provider, conf={"auto.register.schemas": False, "use.schema.id": id}))
    assert value[1:5] == id.to_bytes(4, "big")


def test_an_unknown_schema_is_refused_with_a_conflict(provider: SchemaRegistryClient) -> None:
    other = Schema(CONTRACT.replace('"name":"holder_code"', '"name":"holder_number"'), "AVRO")
    with pytest.raises(SchemaRegistryError) as refused:
        provider.register_schema(f"{TOPIC}-value", other)
    assert (refused.value.http_status_code, refused.value.error_code) == (409, 40901)


def test_a_subscriber_reads_its_delivery_schema_and_no_other(subscriber: SchemaRegistryClient) -> None:
    assert subscriber.get_subjects() == ["open.licence.v1.r1-value"]
    delivered = subscriber.get_latest_version("open.licence.v1.r1-value")
    assert delivered.schema_id is not None
    assert subscriber.get_schema(delivered.schema_id).schema_str == delivered.schema.schema_str
    with pytest.raises(SchemaRegistryError) as refused:
        subscriber.get_latest_version(f"{TOPIC}-value")
    assert refused.value.error_code == 40401


def test_a_wrong_password_is_an_error_of_the_client(url: str) -> None:
    with _client(url, "yibao", "wrong") as client, pytest.raises(SchemaRegistryError) as refused:
        client.get_subjects()
    assert refused.value.http_status_code == 401
