"""A department's program in plain confluent-kafka; all its settings come from client.properties.

client.py read COUNT TOPIC…        prints one JSON line per record, commits what it printed
client.py publish TOPIC SCHEMA     publishes the JSON lines {"key": …, "value": …} of its input, prints a line each
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

IDLE_SECONDS = 60
EPOCH = date(1970, 1, 1)
REGISTRY = "schema.registry."


def main() -> None:
    settings = properties(Path("client.properties"))
    registry = SchemaRegistryClient(
        {k.removeprefix(REGISTRY): v for k, v in settings.items() if k.startswith(REGISTRY)}
    )
    kafka: dict[str, Any] = {k: v for k, v in settings.items() if not k.startswith(REGISTRY)}
    match sys.argv[1:]:
        case ["read", count, *topics]:
            read(Consumer(kafka), AvroDeserializer(registry), int(count), topics)
        case ["publish", topic, schema]:
            publish(Producer(kafka), AvroSerializer(registry, Path(schema).read_text("utf-8")), topic)


def properties(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.replace("<password>", os.environ["BIANHE_PASSWORD"]) for name, value in pairs}


def read(consumer: Consumer, decode: AvroDeserializer, count: int, topics: list[str]) -> None:
    consumer.subscribe(topics)
    try:
        for _ in range(count):
            record = consumer.poll(IDLE_SECONDS)
            if record is None:
                raise TimeoutError(f"nothing came for {IDLE_SECONDS} s")
            if error := record.error():
                raise KafkaException(error)
            tell(record, decode)
            consumer.commit(message=record, asynchronous=False)
    finally:
        consumer.close()


def tell(record: Message[bytes, bytes], decode: AvroDeserializer) -> None:
    topic, key = record.topic() or "", record.key()
    headers: Any = record.headers() or []
    value: Any = decode(record.value(), SerializationContext(topic, MessageField.VALUE))
    say(
        topic=topic,
        partition=record.partition(),
        offset=record.offset(),
        key=key and key.decode(),
        headers={name: content.decode() for name, content in headers},
        value=value and {name: plain(item) for name, item in value.items()},
    )


def publish(producer: Producer, encode: AvroSerializer, topic: str) -> None:
    for line in sys.stdin:
        event = json.loads(line)
        value = encode(event["value"] and typed(event["value"]), SerializationContext(topic, MessageField.VALUE))
        producer.produce(topic, value, event["key"], on_delivery=receipt(event["key"]))
    if producer.flush(IDLE_SECONDS):
        raise TimeoutError("not every record was acknowledged")


def receipt(key: str) -> Callable[[Any, Message[Any, Any]], None]:
    def told(error: Any, record: Message[Any, Any]) -> None:
        if error:
            raise KafkaException(error)
        say(key=key, partition=record.partition(), offset=record.offset())

    return told


def plain(item: Any) -> Any:
    """An item as JSON shows it: a date in days and a time in milliseconds since 1970, a decimal in hundredths."""
    match item:
        case datetime():
            return round(item.timestamp() * 1000)
        case date():
            return (item - EPOCH).days
        case Decimal():
            return int(item.scaleb(2))
    return item


def typed(items: dict[str, Any]) -> dict[str, Any]:
    capital = items["registered_capital"]
    return items | {"registered_capital": None if capital is None else Decimal(capital).scaleb(-2)}


def say(**facts: Any) -> None:
    print(json.dumps(facts, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"error {type(error).__name__}: {error}")
