"""How the components of the bus log in to Kafka."""

from __future__ import annotations

from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import KafkaSettings, read_secret


def component(kafka: KafkaSettings, account: str) -> Connection:
    """The connection of a component account, whose password stands in a file of its name; raises MissingSecret."""
    return Connection(kafka.bootstrap, account, read_secret(kafka.secrets / account), kafka.ca_file)
