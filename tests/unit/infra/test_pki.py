"""The authority's files: what they hold, whom they are for, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from bianhe.infra.cli.finding import State
from bianhe.infra.cli.judgement import certificate, unencrypted
from bianhe.infra.pki import AuthorityThere, Certificate, NoAuthority, NotACertificate, Pki

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path / "pki")
    made.init(NOW)
    return made


def test_a_keystore_is_key_certificate_and_authority_in_one_file_of_its_owner(pki: Pki) -> None:
    issued = pki.issue("broker-1", ["127.0.0.1", "kafka1.example.cn"], NOW)
    text = pki.keystore("broker-1").read_text()
    assert re.findall("BEGIN ([A-Z ]+)", text) == ["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]
    assert set(issued.hosts) == {"127.0.0.1", "kafka1.example.cn"}
    assert [file.stat().st_mode & 0o777 for file in (pki.keystore("broker-1"), pki.key_file)] == [0o600, 0o600]
    assert "PRIVATE" not in pki.ca_file.read_text()
    leaf, authority = x509.load_pem_x509_certificates(text.encode())
    leaf.verify_directly_issued_by(authority)


def test_each_issue_has_a_serial_and_a_key_of_its_own(pki: Pki) -> None:
    first, kept = pki.issue("broker", ["127.0.0.1"], NOW), pki.keystore("broker").read_text()
    assert pki.issue("broker", ["127.0.0.1"], NOW).serial != first.serial
    assert pki.keystore("broker").read_text().split("-----END")[0] != kept.split("-----END")[0]


def test_no_certificate_outlives_its_authority(pki: Pki) -> None:
    assert pki.issue("broker", ["127.0.0.1"], NOW, days=99_999).until <= Certificate.read(pki.ca_file).until


def test_a_second_authority_is_refused_since_every_client_trusts_the_first(pki: Pki) -> None:
    with pytest.raises(AuthorityThere):
        pki.init(NOW)


def test_what_is_no_certificate_and_what_cannot_be_one_is_refused(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_bytes(b"\x00garbage")
    with pytest.raises(NotACertificate):
        Certificate.read(tmp_path / "garbage.pem")
    for name, hosts in (("ca", ["h"]), ("../x", ["h"]), ("broker", [])):
        with pytest.raises(NotACertificate):
            pki.issue(name, hosts, NOW)
    with pytest.raises(NoAuthority):
        Pki(tmp_path / "other").issue("broker", ["h"], NOW)


@pytest.mark.parametrize(
    ("days", "state"), [(31, State.OK), (30, State.WARNING), (8, State.WARNING), (7, State.FAULT), (-1, State.FAULT)]
)
def test_a_certificate_that_ends_soon_is_told_before_it_has_ended(days: int, state: State) -> None:
    assert certificate("it", NOW + timedelta(days=days), NOW).state == state


def test_plain_text_is_a_fault_as_soon_as_a_broker_is_reached_over_a_network() -> None:
    assert unencrypted(["127.0.0.1:9092"]).state == State.OK
    assert unencrypted(["127.0.0.1:9092", "10.1.2.3:9092"]).state == State.FAULT
