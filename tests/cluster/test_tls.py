"""Clients over TLS on a real broker: who is refused is told why, and certificates change under a running client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from bianhe.infra import clock
from bianhe.infra.embedded.broker import CERTIFICATE, EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.certificates import CertificateNotTaken, reload_keystore, served
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import BrokerUnreachable, LoginRefused
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.session import check_login
from bianhe.infra.pki import Certificate, Pki
from support.broker import create_topic, write
from support.command_line import Run, in_this_process

TOPIC = "over-tls"


@dataclass
class Encrypted:
    broker: EmbeddedBroker
    pki: Pki
    home: Path

    @property
    def connection(self) -> Connection:
        return self.broker.connection()

    @property
    def serial(self) -> int:
        return served(self.broker.bootstrap, self.pki.ca_file).serial


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    home = tmp_path_factory.mktemp("tls")
    pki = Pki(home / "pki")
    with EmbeddedBroker(home / "kafka", pki=pki) as broker:
        create_topic(broker, TOPIC)
        yield Encrypted(broker, pki, home)


@pytest.fixture
def run(encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    home = encrypted.home
    settings = {"bootstrap": encrypted.broker.bootstrap, "secrets": str(home / "kafka" / "secrets")}
    monkeypatch.setenv("BIANHE_HOME", str(home))
    monkeypatch.setenv("BIANHE_DATABASE", "sqlite://")
    monkeypatch.setenv("BIANHE_KAFKA", json.dumps(settings | {"ca_file": str(encrypted.pki.ca_file)}))
    return in_this_process(monkeypatch, capfd)


def test_what_stands_between_a_client_and_the_broker_is_told_so_that_a_person_understands(
    encrypted: Encrypted, tmp_path: Path
) -> None:
    right, other = encrypted.connection, Pki(tmp_path)
    other.init(clock.now())
    inner = json.loads((encrypted.home / "kafka" / "ports.json").read_text())["internal"]
    with pytest.raises(BrokerUnreachable) as wrong_authority:
        check_login(replace(right, ca_file=other.ca_file))
    with pytest.raises(BrokerUnreachable) as plain:
        check_login(replace(right, ca_file=None))
    with pytest.raises(BrokerUnreachable) as plain_port:
        check_login(replace(right, bootstrap=f"127.0.0.1:{inner}"))
    with pytest.raises(LoginRefused) as password:
        check_login(replace(right, password=SecretStr("wrong")))
    assert "certificate is not believed" in wrong_authority.value.cause
    assert "no ca_file is given" in plain.value.cause
    assert "does not speak TLS" in plain_port.value.cause
    assert "password is wrong" in password.value.cause


def test_a_certificate_is_rotated_while_clients_go_on(encrypted: Encrypted, run: Run) -> None:
    before, failures = encrypted.serial, []
    producer = clients.producer(encrypted.connection)
    with LogReader(encrypted.connection, TOPIC, 0, group="tls") as reader:
        start = len(list(reader.read_to_end()))
        producer.produce(TOPIC, b"before", on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.flush(30)
        code, said, _ = run("pki", "rotate")
        producer.produce(TOPIC, b"after", on_delivery=lambda error, _: failures.append(error) if error else None)
        assert producer.flush(30) == 0
        assert [record.value for record in reader.read_to_end()] == [b"before", b"after"], start
    after = encrypted.serial
    assert (code, failures) == (0, [])
    assert after != before
    assert f"{after:x}" in said
    assert Certificate.read(encrypted.pki.keystore(CERTIFICATE)).serial == after
    write(encrypted.connection, TOPIC, [b"new client"])


def test_a_keystore_that_the_broker_does_not_take_is_found_out_though_it_says_yes(encrypted: Encrypted) -> None:
    keystore, serial = encrypted.pki.keystore(CERTIFICATE), encrypted.serial
    fresh = encrypted.pki.issue(CERTIFICATE, ["127.0.0.1", "localhost"], clock.now())
    whole = keystore.read_text()
    keystore.write_text("garbage\n" + whole[whole.index("-----BEGIN CERT") :])
    with pytest.raises(CertificateNotTaken) as refusal:
        reload_keystore(encrypted.connection, keystore, fresh.serial, timeout=3)
    assert f"{serial:x}" in str(refusal.value)
    assert encrypted.serial == serial
    keystore.write_text(whole)
    assert reload_keystore(encrypted.connection, keystore, fresh.serial) == [encrypted.broker.bootstrap]


def test_the_authority_and_its_keystores_are_listed_without_a_key(encrypted: Encrypted, run: Run) -> None:
    code, said, _ = run("pki", "show", "--output", "json")
    assert code == 0
    assert [row["name"] for row in json.loads(said)] == ["Bianhe CA", CERTIFICATE]
    assert "PRIVATE" not in said
    assert run("pki", "init")[0] == 1
