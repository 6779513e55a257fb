"""What no grant allows, tried with a department's own account: the broker answers, not we."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, Message

from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import RefusedByBroker
from bianhe.infra.kafka.log import LogReader

ANSWER_SECONDS: Final = 20.0
NO_REFUSAL: Final = "not refused"
TOPIC_REFUSED: Final = "TOPIC_AUTHORIZATION_FAILED"
GROUP_REFUSED: Final = "GROUP_AUTHORIZATION_FAILED"


@dataclass(frozen=True, slots=True)
class Answer:
    """The broker's answer to an attempt, by Kafka's name of the error; NO_REFUSAL where there was none."""

    what: str
    name: str
    expected: str
    answer: str

    @property
    def refused(self) -> bool:
        return self.answer == self.expected


def carry_out(
    connection: Connection,
    *,
    own_group: str,
    own_mailbox: str,
    source: str,
    others_mailbox: str,
    open_channel: str,
    others_group: str,
) -> list[Answer]:
    """Try five things with one department's account, on names that exist and that no grant opens to it."""
    return [
        read_topic(connection, source, own_group, "read a source topic"),
        read_topic(connection, others_mailbox, own_group, "read another's mailbox"),
        Answer("write to its own mailbox", own_mailbox, TOPIC_REFUSED, _write(connection, own_mailbox)),
        read_topic(connection, open_channel, own_group),
        Answer("join another's group", others_group, GROUP_REFUSED, _join(connection, own_mailbox, others_group)),
    ]


def read_topic(
    connection: Connection, topic: str, group: str, what: str = "read an open channel without a grant"
) -> Answer:
    """Try to read a topic from its beginning."""
    answer = NO_REFUSAL
    try:
        with LogReader(connection, topic, 0, group=group, timeout=ANSWER_SECONDS) as reader:
            reader.read_to_end()
    except RefusedByBroker as refused:
        answer = refused.code
    return Answer(what, topic, TOPIC_REFUSED, answer)


def _write(connection: Connection, topic: str) -> str:
    answers: list[str] = []

    def answered(error: KafkaError | None, message: Message) -> None:
        answers.append(error.name() if error else NO_REFUSAL)

    producer = clients.producer(connection, delivery_timeout=ANSWER_SECONDS)
    producer.produce(topic, b"", "demo", partition=0, on_delivery=answered)
    producer.flush(ANSWER_SECONDS)
    return answers[0] if answers else "no answer"


def _join(connection: Connection, topic: str, group: str) -> str:
    consumer = clients.consumer(connection, group)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        consumer.subscribe([topic])
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            error = message.error() if message is not None else None
            if error is not None:
                return error.name()
            if message is not None or consumer.assignment():
                return NO_REFUSAL
    finally:
        consumer.close()
    return "no answer"
