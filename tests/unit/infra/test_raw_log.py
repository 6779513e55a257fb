"""A reader of raw logs outlives the connections that a broker closes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from bianhe.infra.kafka import raw_log
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import unreachable

BROKER_CLOSES_AFTER = 30.0


class Clock:
    now = 0.0


class ClosingSession:
    """A session of a broker that closes it after 30 s; every answer takes 13 s."""

    open_now = 0

    def __init__(self, connection: Connection, addresses: tuple[str, ...] = (), timeout: float = 10.0) -> None:
        self.since = Clock.now
        ClosingSession.open_now += 1

    def __enter__(self) -> ClosingSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        ClosingSession.open_now -= 1

    def ask(self, request: object) -> object:
        if Clock.now - self.since > BROKER_CLOSES_AFTER:
            raise unreachable("broker:9092")
        Clock.now += 13.0
        partition = SimpleNamespace(partition_index=0, leader_id=1, error_code=0, offset=7)
        topic = SimpleNamespace(name="source.population.v1", partitions=[partition])
        broker = SimpleNamespace(node_id=1, host="broker", port=9092)
        return SimpleNamespace(brokers=[broker], topics=[topic])


def test_reading_goes_on_where_the_broker_closes_old_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_log, "Session", ClosingSession)
    monkeypatch.setattr(raw_log, "time", SimpleNamespace(monotonic=lambda: Clock.now))
    with raw_log.RawLogs(Connection("broker:9092", "checker", SecretStr("x"))) as logs:
        asked = [logs.offset(("source.population.v1", 0), "end") for _ in range(20)]
        assert ClosingSession.open_now == 1
    assert asked == [7] * 20
    assert ClosingSession.open_now == 0
