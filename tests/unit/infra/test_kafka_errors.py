from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from pydantic import SecretStr

from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import (
    BrokerBusy,
    BrokerUnreachable,
    ClientBroken,
    LoginRefused,
    RefusedByBroker,
    explain,
)
from bianhe.schemas.errors import BusError

CONNECTION = Connection("127.0.0.1:9094", "renshe", SecretStr("not to be seen"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, BrokerUnreachable),
        (KafkaError._ALL_BROKERS_DOWN, BrokerUnreachable),
        (KafkaError._TIMED_OUT, BrokerUnreachable),
        (KafkaError._AUTHENTICATION, LoginRefused),
        (KafkaError.SASL_AUTHENTICATION_FAILED, LoginRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, RefusedByBroker),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, RefusedByBroker),
        (KafkaError.NOT_LEADER_FOR_PARTITION, BrokerBusy),
        (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, BrokerBusy),
        (KafkaError.NOT_COORDINATOR, BrokerBusy),
        (KafkaError._FENCED, ClientBroken),
        (KafkaError._FATAL, ClientBroken),
    ],
)
def test_each_error_of_the_client_library_says_whether_to_try_again(code: int, kind: type[BusError]) -> None:
    error = explain(KafkaError(code), CONNECTION, "reading")
    assert type(error) is kind
    assert "not to be seen" not in f"{error!r} {error.cause} {error.cure}"


def test_a_refusal_keeps_the_brokers_own_name_for_it() -> None:
    error = explain(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), CONNECTION, "reading source.population.v1")
    assert isinstance(error, RefusedByBroker)
    assert error.code == "TOPIC_AUTHORIZATION_FAILED"
    assert error.code in error.message
    assert "renshe" in error.cause


def test_a_connection_can_be_shown_without_its_password() -> None:
    assert "not to be seen" not in f"{CONNECTION!r} {CONNECTION}"
