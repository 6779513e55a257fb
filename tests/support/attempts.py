"""What a department's own client gets from the broker: an answer, or a refusal by Kafka's name."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bianhe.infra.kafka.connection import Connection

ANSWERED = ""
TOPIC_DENIED = "TOPIC_AUTHORIZATION_FAILED"
GROUP_DENIED = "GROUP_AUTHORIZATION_FAILED"


def attempt_write(connection: Connection, topic: str) -> str:
    """Produce one record as a plain client, without idempotence."""
    refusals: list[str] = []
    producer = Producer(_login(connection))
    producer.produce(
        topic,
        b"value",
        key=b"key",
        partition=0,
        on_delivery=lambda error, _: refusals.append(error.name() if error else ANSWERED),
    )
    assert producer.flush(30) == 0
    return refusals[0]


def attempt_read(connection: Connection, topic: str, group: str) -> str:
    """Read partition 0 to its first record or end, and ask for the group's position."""
    consumer = Consumer(
        {
            **_login(connection),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        # A partition that it may not see, librdkafka waits for; what the broker says of the topic it tells at once.
        denied = consumer.list_topics(topic, timeout=30).topics[topic].error
        if denied is not None:
            return str(denied.name())
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None, "the broker was silent"
        error = message.error()
        if error is not None and error.name() != "_PARTITION_EOF":
            return error.name()
        return _position_answer(consumer, TopicPartition(topic, 0))
    finally:
        consumer.close()


def _position_answer(consumer: Consumer, place: TopicPartition) -> str:
    """A refusal of the group comes out of poll() or of committed(), whichever asked for the coordinator."""
    answer = ""
    for _ in range(30):
        try:
            consumer.committed([place], timeout=1)
        except KafkaException as refusal:
            answer = str(refusal.args[0].name())
        else:
            return ANSWERED
        message = consumer.poll(0)
        error = message.error() if message is not None else None
        if error is not None and error.name() != "_PARTITION_EOF":
            return error.name()
        if answer != "_TIMED_OUT":
            break
    return answer


def _login(connection: Connection) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": connection.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": connection.account,
        "sasl.password": connection.password.get_secret_value(),
    }
