"""Reads a department's delivery topics whole, whatever was acknowledged, and lets each partition be judged."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer

from bianhe.consumers.kafka import delivery_of
from bianhe.consumers.subscriber import Place, Reader, topics_to_read
from bianhe.consumers.verification.judgement import Told, Verification
from bianhe.infra import clock
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explained
from bianhe.infra.kafka.log import read_to_ends
from bianhe.infra.kafka.session import check_login
from bianhe.infra.schema_registry import SchemaRegistry
from bianhe.infra.settings import Profile
from bianhe.schemas import names, wire

_CALL_SECONDS: Final = 10.0


def verify(profile: Profile, resources: Collection[str] | None = None) -> list[Verification]:
    """Judge every partition that this department may read; nothing is acknowledged.

    Raises NothingGranted, Misaddressed, UnreadableDelivery, and what a Subscriber raises where broker or registry are
    away or refuse.
    """
    password = profile.password()
    connection = Connection(profile.bootstrap, profile.department, password, profile.ca_file)
    check_login(connection)
    with SchemaRegistry(profile.registry, profile.department, password, ca_file=profile.ca_file) as registry:
        # What was written is asked for before the ends of the topics: all of it must lie there.
        told = {(each["topic"], each["partition"]): Told.read(each) for each in registry.deliveries()}
        consumer = clients.end_consumer(connection, names.group(profile.department, profile.client), "read_committed")
        try:
            return _judged(connection, consumer, registry, told, profile.department, frozenset(resources or ()))
        finally:
            consumer.close()


def _judged(
    connection: Connection,
    consumer: Consumer,
    registry: SchemaRegistry,
    told: dict[Place, Told],
    department: str,
    resources: frozenset[str],
) -> list[Verification]:
    with explained(connection, "listing topics"):
        visible = consumer.list_topics(timeout=_CALL_SECONDS).topics
    topics = topics_to_read(frozenset(visible), department, resources)
    ids = {topic: registry.latest(names.value_subject(topic)).id for topic in topics}
    positions = {(topic, partition): OFFSET_BEGINNING for topic in topics for partition in visible[topic].partitions}
    now = int(clock.now().timestamp() * 1000)
    found = {place: Verification(*place, told.get(place, Told()), ids[place[0]], now) for place in sorted(positions)}
    reader = Reader(department, registry.by_id)
    for message in read_to_ends(connection, consumer, positions):
        delivery = delivery_of(message)
        schema_id = wire.unframe(delivery.value)[0] if delivery.value else None
        place = delivery.topic, delivery.partition
        found[place].take(reader.event(delivery), schema_id, delivery.append_millis)
    for each in found.values():
        each.finish()
    return list(found.values())
