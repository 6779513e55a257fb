from __future__ import annotations

from pathlib import Path

import pytest

from bianhe.infra.cli.client_settings import Client, settings_for
from bianhe.infra.settings import Profile

PLAIN = Profile(department="renshe", bootstrap="10.0.0.1:9094,10.0.0.2:9094", registry="http://registry:8080")
SECURED = PLAIN.model_copy(update={"ca_file": Path("/etc/bianhe/ca.pem"), "registry": "https://registry"})
NOT_RIGHT_BY_DEFAULT = {
    Client.JAVA: ("isolation.level=read_committed", "auto.offset.reset=earliest", "enable.auto.commit=false"),
    Client.LIBRDKAFKA: (
        "2.6.1",
        "partitioner=murmur2_random",
        "auto.offset.reset=earliest",
        "enable.auto.commit=false",
    ),
    Client.GO: (
        "2.6.1",
        '"partitioner":        "murmur2_random"',
        '"auto.offset.reset":  "earliest"',
        "event with an error",
    ),
    Client.NODE: ("fromBeginning: true", "readUncommitted: false", "CRASH", "useLatestVersion"),
    Client.FLINK: ("'properties.isolation.level' = 'read_committed'",),
}
every_client = pytest.mark.parametrize("client", Client)


@every_client
def test_settings_name_the_department_its_group_and_both_addresses(client: Client) -> None:
    text = settings_for(client, PLAIN)
    for fact in ("renshe.main", PLAIN.bootstrap, PLAIN.registry, "renshe"):
        assert fact in text


@every_client
def test_settings_set_what_the_client_does_wrong_by_default(client: Client) -> None:
    text = settings_for(client, PLAIN)
    assert [setting for setting in NOT_RIGHT_BY_DEFAULT[client] if setting not in text] == []


@every_client
def test_settings_say_where_the_password_goes(client: Client) -> None:
    text = settings_for(client, PLAIN)
    assert "<password>" in text or "BIANHE_PASSWORD" in text


@every_client
def test_a_certificate_of_the_authority_turns_encryption_on(client: Client) -> None:
    text = settings_for(client, SECURED)
    assert str(SECURED.ca_file) in text
    assert str(SECURED.ca_file) not in settings_for(client, PLAIN)
    assert "SASL_PLAINTEXT" not in text
    assert "ssl: false" not in text


@pytest.mark.parametrize("client", [Client.JAVA, Client.LIBRDKAFKA])
def test_a_settings_file_has_each_setting_once(client: Client) -> None:
    lines = settings_for(client, SECURED).splitlines()
    names = [line.split("=", 1)[0] for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))
