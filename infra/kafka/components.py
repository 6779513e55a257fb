"""How the components of the bus log in to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import KafkaSettings, read_secret

POLICY_KEYS: Final = "policy-keys.toml"


def component(kafka: KafkaSettings, account: str) -> Connection:
    """The connection of a component account, whose password stands in a file of its name; raises MissingSecret."""
    cure = "start the bus, which makes it (bianhe up), or copy it from a machine that has it"
    password = read_secret(kafka.secrets / account, cure)
    return Connection(kafka.bootstrap, account, password, kafka.ca_file, policy_keys=policy_keys(kafka.secrets))


def policy_keys(folder: Path) -> str:
    """The public keys that are pinned in a folder of secrets, as TOML; empty where there are none."""
    file = folder / POLICY_KEYS
    return file.read_text(encoding="utf-8") if file.exists() else ""
