"""One authenticated connection to one broker, for requests that librdkafka lacks or answers wrongly.

The messages are kafka-python's protocol classes; the socket is our own, so that nothing retries or waits unseen.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import Any, Final

from kafka.net.sasl.scram import ScramClient  # type: ignore[import-untyped]
from kafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest  # type: ignore[import-untyped]

from bianhe.infra.closing import Closing
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import BrokerUnreachable, LoginRefused, login_refused, unreachable

_ANSWER_BYTES_MAX = 64 * 1024 * 1024

Message = Any
"""A request or response of kafka-python, which ships no types."""


class Session(Closing):
    """A connection to the first of the given addresses that answers, logged in. Use it in a `with` block.

    Raises BrokerUnreachable and LoginRefused. Not for several threads.
    """

    def __init__(self, connection: Connection, addresses: tuple[str, ...] = (), timeout: float = 10.0) -> None:
        self._connection = connection
        self._bootstrap = ",".join(addresses or connection.addresses)
        self._socket = self._open(addresses or connection.addresses, timeout)
        try:
            self._log_in()
        except BrokerUnreachable as error:
            self._socket.close()
            first = (addresses or connection.addresses)[0]
            if connection.ca_file is None and _speaks_tls(first):
                raise BrokerUnreachable(
                    f"the broker at {first} hung up",
                    cause="it speaks TLS, and no ca_file is given",
                    cure="name in ca_file the authority that signed its certificate (ca.pem)",
                ) from error
            raise
        except BaseException:
            self._socket.close()
            raise
        self.since: Final = time.monotonic()

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()

    def ask(self, request: Message) -> Message:
        """Send a request whose version is set and return its response. A silent broker is BrokerUnreachable."""
        request.with_header(correlation_id=1, client_id="bianhe")
        answer = self.exchange(request.encode(header=True))
        return request.header.get_response_class().decode(answer, header=True)

    def exchange(self, request: bytes) -> bytes:
        """Send an encoded request, header included, and return the bytes of its response."""
        try:
            self._socket.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", self._receive(4))
            if not 0 <= size <= _ANSWER_BYTES_MAX:
                raise OSError("this is no Kafka broker")
            return self._receive(size)
        except OSError as error:
            raise unreachable(self._bootstrap) from error

    def _open(self, addresses: tuple[str, ...], timeout: float) -> socket.socket:
        for address in addresses:
            host, _, port = address.rpartition(":")
            try:
                plain = socket.create_connection((host.strip("[]"), int(port)), timeout)
            except (OSError, ValueError):
                continue
            if self._connection.ca_file is None:
                return plain
            try:
                context = ssl.create_default_context(cafile=str(self._connection.ca_file))
                return context.wrap_socket(plain, server_hostname=host)
            except OSError as error:
                plain.close()
                raise untrusted(address, error) from error
        raise unreachable(self._bootstrap)

    def _log_in(self) -> None:
        mechanism = self._connection.mechanism
        handshake = self.ask(SaslHandshakeRequest[1](mechanism))
        if handshake.error_code:
            raise self._refused()
        if mechanism == "PLAIN":
            secret = self._connection.password.get_secret_value()
            self._prove(f"\0{self._connection.account}\0{secret}".encode())
            return
        scram = ScramClient(self._connection.account, self._connection.password.get_secret_value(), mechanism)
        scram.process_server_first_message(self._prove(scram.first_message()))
        try:
            scram.process_server_final_message(self._prove(scram.final_message()))
        except ValueError as error:
            # The broker does not know the password either.
            raise self._refused() from error

    def _prove(self, words: bytes) -> bytes:
        answer = self.ask(SaslAuthenticateRequest[1](words))
        if answer.error_code:
            raise self._refused()
        return bytes(answer.auth_bytes)

    def _refused(self) -> LoginRefused:
        return login_refused(self._bootstrap, self._connection.account, self._connection.mechanism)

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._socket.recv(size - len(received))
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            received += part
        return bytes(received)


def untrusted(address: str, error: OSError) -> BrokerUnreachable:
    """The error for a broker that does not speak TLS, or shows a certificate that is not believed."""
    if not isinstance(error, ssl.SSLError):
        return unreachable(address)
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
        cause, cure = "the broker does not speak TLS there", "correct the port, or take ca_file out of the settings"
    else:
        told = getattr(error, "verify_message", "") or error.reason
        cause = f"its certificate is not believed: {told}"
        cure = "name in ca_file the authority that signed it (ca.pem), and reach it under a name that it carries"
    return BrokerUnreachable(f"no trusted connection to {address}", cause=cause, cure=cure)


def _speaks_tls(address: str) -> bool:
    """Whether a broker that hung up on plain text would shake hands; who it is is not asked."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), 5) as plain, context.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def brokers(session: Session) -> dict[int, str]:
    """The addresses of the cluster's brokers by node id, from a metadata answer."""
    answer = session.ask(MetadataRequest[9](topics=[], allow_auto_topic_creation=False))
    return {broker.node_id: f"{broker.host}:{broker.port}" for broker in answer.brokers}


def check_login(connection: Connection, timeout: float = 10.0) -> dict[int, str]:
    """Log in and return the cluster's brokers, or raise within seconds what stands in the way.

    Raises BrokerUnreachable (nobody answers, or no broker is ready) and LoginRefused. librdkafka tells a refused login
    to a callback only, while its calls time out: ask here first.
    """
    with Session(connection, timeout=timeout) as session:
        found = brokers(session)
    if not found:
        raise unreachable(connection.bootstrap)
    return found
