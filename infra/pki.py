"""A small certificate authority for the brokers' listeners: one key, and the keystores that it signs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bianhe.infra.settings import read_secret, write_private
from bianhe.schemas.errors import Rejected

AUTHORITY_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 365
_SKEW: Final = timedelta(minutes=5)
"""A certificate is valid a little before it was made, for machines whose clocks are behind."""
_AUTHORITY: Final = "ca"


class NoAuthority(Rejected):
    """There is no certificate authority in this folder."""


class AuthorityThere(Rejected):
    """There is one already; another would make every profile's ca_file wrong."""


class NotACertificate(Rejected):
    """A file that holds no certificate, or a name that a certificate cannot carry."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    name: str
    serial: int
    hosts: tuple[str, ...]
    until: datetime

    @classmethod
    def read(cls, file: Path) -> Self:
        """The first certificate of a PEM file; raises NotACertificate."""
        try:
            certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
        except (OSError, ValueError) as error:
            raise NotACertificate(f"{file} holds no certificate", cure="issue one: bianhe pki issue") from error
        return cls(
            str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
            certificate.serial_number,
            _hosts(certificate),
            certificate.not_valid_after_utc,
        )


@dataclass(frozen=True, slots=True)
class Pki:
    """The folder of an authority: `ca.pem` for everybody, `ca.key` and the keystores (mode 0600) for their owner."""

    folder: Path

    @property
    def ca_file(self) -> Path:
        """What clients trust; no secret."""
        return self.folder / f"{_AUTHORITY}.pem"

    @property
    def key_file(self) -> Path:
        return self.folder / f"{_AUTHORITY}.key"

    def keystore(self, name: str) -> Path:
        """The file of a broker: its private key, its certificate, the authority's, in the form that Kafka reads."""
        return self.folder / f"{name}.pem"

    def keystores(self) -> list[Path]:
        return sorted(file for file in self.folder.glob("*.pem") if file != self.ca_file)

    def init(self, now: datetime) -> Certificate:
        """Make the authority, once; raises AuthorityThere."""
        if self.key_file.exists():
            raise AuthorityThere(f"{self.folder} has an authority already", cure="use it: bianhe pki issue")
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Bianhe CA")
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self.key_file, _key_pem(key))
        write_private(self.ca_file, _pem(certificate))
        self.ca_file.chmod(0o644)
        return Certificate.read(self.ca_file)

    def issue(self, name: str, hosts: Iterable[str], now: datetime, days: int = CERTIFICATE_DAYS) -> Certificate:
        """Make a key and a certificate for a broker that is reached under these names and addresses.

        A keystore of that name is replaced, whole or not at all; the broker goes on with the former one until told.
        """
        named = [_general_name(host) for host in hosts]
        if name == _AUTHORITY or not name.replace("-", "").isalnum() or not named:
            raise NotACertificate(
                f"no certificate can be made for {name!r}",
                cause=f"a name is letters, digits and '-', is not {_AUTHORITY!r}, and is reached under some host",
                cure="bianhe pki issue broker-1 --host kafka1.example.cn",
            )
        authority, authority_key = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        days = min(days, (authority.not_valid_after_utc - now).days)
        certificate = (
            _builder(_name(name), authority.subject, key.public_key(), now, days)
            .add_extension(x509.SubjectAlternativeName(named), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        write_private(self.keystore(name), _key_pem(key) + _pem(certificate) + _pem(authority))
        return Certificate.read(self.keystore(name))

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if not self.key_file.exists():
            raise NoAuthority(f"{self.folder} has no authority", cure="make one: bianhe pki init")
        pem = read_secret(self.key_file).get_secret_value().encode()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(self.ca_file.read_bytes()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in named)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    # PKCS#8 without a password: Kafka's PEM keystore takes it so, and the file's mode is what protects it.
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
