"""What Kafka's errors mean for the caller, with cause and cure."""

from __future__ import annotations

from types import TracebackType

from confluent_kafka import KafkaError, KafkaException

from bianhe.infra.kafka.connection import Connection
from bianhe.schemas.errors import BusError, Fatal, Rejected, Transient


class BrokerUnreachable(Transient):
    """No broker answers."""


class BrokerBusy(Transient):
    """A broker answered that it cannot do this now. `code` is Kafka's name of the error."""

    def __init__(self, message: str, code: str, *, cause: str = "", cure: str = "") -> None:
        super().__init__(message, cause=cause, cure=cure)
        self.code = code


class LoginRefused(Rejected):
    """The broker does not accept this account with this password."""


class RefusedByBroker(Rejected):
    """The broker refused. `code` is Kafka's name of the error, such as TOPIC_AUTHORIZATION_FAILED."""

    def __init__(self, message: str, code: str, *, cause: str = "", cure: str = "") -> None:
        super().__init__(message, cause=cause, cure=cure)
        self.code = code


class ClientBroken(Fatal):
    """The Kafka client cannot go on; its process ends and is started anew."""


UNREACHABLE = frozenset({"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_MSG_TIMED_OUT", "_RESOLVE", "_SSL"})
_LOGIN = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"})
PASSING = frozenset(
    {
        "CONCURRENT_TRANSACTIONS",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_CONTROLLER",
        "NOT_COORDINATOR",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NOT_LEADER_FOR_PARTITION",
        "OFFSET_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "UNKNOWN_LEADER_EPOCH",
        "UNSTABLE_OFFSET_COMMIT",
        "_WAIT_COORD",
    }
)
"""What Kafka calls retriable, but for unknown topics: sync makes those, not time."""
_BROKEN = frozenset({"_FATAL", "_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "FENCED_INSTANCE_ID"})


def unreachable(bootstrap: str) -> BrokerUnreachable:
    """The error for brokers that do not answer."""
    return BrokerUnreachable(
        f"no broker answers at {bootstrap}",
        cause="the broker is not running, the address is wrong, or the network between is closed",
        cure="start it (bianhe up) or correct the address: kafka.bootstrap in the settings, bootstrap in a profile",
    )


def login_refused(bootstrap: str, account: str, mechanism: str = "SCRAM-SHA-512") -> LoginRefused:
    """The error for a wrong password, an unknown and a removed account: the broker does not say which."""
    return LoginRefused(
        f"the broker at {bootstrap} refused account {account}: {mechanism.partition('-')[0]} authentication failed",
        cause="the password is wrong or no longer valid",
        cure=f"check the password; an administrator can issue a new one: bianhe account rotate {account}",
    )


def refused(code: str, message: str, account: str) -> RefusedByBroker:
    """The error for a request that the broker read and does not carry out."""
    if code.endswith("AUTHORIZATION_FAILED"):
        return RefusedByBroker(
            f"{message}: {code}",
            code,
            cause=f"no access rule allows this to account {account}",
            cure="ask the administrator of the bus: access follows from grants (bianhe application submit)",
        )
    return RefusedByBroker(f"{message}: {code}", code)


def explain(error: KafkaError, connection: Connection, doing: str) -> BusError:
    """Return the bus's error for one of the client library; `doing` says in plain words what was tried."""
    code = error.name()
    if code in _LOGIN:
        return login_refused(connection.bootstrap, connection.account, connection.mechanism)
    if code in _BROKEN or error.fatal():
        return ClientBroken(f"{doing}: {code}", cause=error.str(), cure="start the process again")
    if code in UNREACHABLE:
        return unreachable(connection.bootstrap)
    if code in PASSING or error.retriable():
        return BrokerBusy(f"{doing}: {code}", code, cause=error.str(), cure="try again")
    return refused(code, doing, connection.account)


class explained:
    """Turn the client library's exceptions inside the block into errors of the bus."""

    __slots__ = ("_connection", "_doing")

    def __init__(self, connection: Connection, doing: str) -> None:
        self._connection = connection
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KafkaException):
            raise explain(error.args[0], self._connection, self._doing) from error
        if isinstance(error, SystemError):
            # Ctrl-C that arrives inside a callback of the client library: the library loses the exception.
            raise KeyboardInterrupt from error
