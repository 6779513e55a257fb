"""The certificates that brokers serve: what they are, and that a broker really took the new one."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.session import check_login, untrusted
from bianhe.schemas.errors import Rejected

TAKEN_SECONDS: Final = 10.0
"""A broker that takes a keystore serves it within three seconds, thread by thread."""
_WAIT_SECONDS: Final = 0.1
_KEYSTORE: Final = "listener.name.{}.ssl.keystore.location"


class CertificateNotTaken(Rejected):
    """A broker said yes to a keystore and goes on with its former certificate."""


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate that a broker shows to who connects."""

    serial: int
    until: datetime


def served(address: str, ca_file: Path) -> Served:
    """Shake hands with a broker, without logging in. Raises BrokerUnreachable where it is not trusted."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), 10) as plain:
            context = ssl.create_default_context(cafile=str(ca_file))
            with context.wrap_socket(plain, server_hostname=host) as secure:
                facts = secure.getpeercert() or {}
    except OSError as error:
        raise untrusted(address, error) from error
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(facts["notAfter"])), UTC)
    return Served(int(str(facts["serialNumber"]), 16), until)


def reload_keystore(
    connection: Connection, keystore: Path, serial: int, timeout: float = TAKEN_SECONDS, listener: str = "client"
) -> list[str]:
    """Have every broker read its keystore again, and return their addresses when each serves this serial.

    A broker answers yes to any file, even one that holds nothing of use, and then goes on with what it had: so each is
    asked by a handshake. Raises CertificateNotTaken. Connections that are open live on.
    """
    assert connection.ca_file is not None
    addresses = check_login(connection)
    with Admin(connection) as cluster:
        settings = cluster.broker_settings()
        for node in addresses:
            cluster.set_broker_setting(node, _KEYSTORE.format(listener), str(keystore))
    deadline = time.monotonic() + timeout
    for node, address in addresses.items():
        # A broker changes over thread by thread, and gives its connections to them in turn.
        handshakes = 2 * int(settings[node]["num.network.threads"])
        _await(handshakes, address, connection.ca_file, keystore, serial, deadline)
    return sorted(addresses.values())


def _await(handshakes: int, address: str, ca_file: Path, keystore: Path, serial: int, deadline: float) -> None:
    """Wait until so many handshakes in a row show this serial."""
    shown = 0
    while shown < handshakes:
        if (found := served(address, ca_file).serial) == serial:
            shown += 1
            continue
        shown = 0
        if time.monotonic() > deadline:
            raise CertificateNotTaken(
                f"the broker at {address} did not take the new certificate and serves {found:x}",
                cause=f"it cannot read {keystore}, key and certificate do not belong together, or its names are others",
                cure="read the broker's log, put the file right, and rotate again before the broker is restarted",
            )
        time.sleep(_WAIT_SECONDS)
