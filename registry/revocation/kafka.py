"""Carries a revocation out, step by step, against a real cluster; what is already done is not done again."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.registry.policy import sql
from bianhe.registry.policy.kafka import PolicyLog
from bianhe.registry.revocation.step import Close, Closed, MarkEffective, Step, next_step, obstacle
from bianhe.registry.sql import deciding, transaction
from bianhe.registry.sync import kafka as cluster
from bianhe.registry.sync.cluster import AccessRule
from bianhe.schemas import names
from bianhe.schemas.errors import Transient
from bianhe.schemas.records.policy import Effective
from bianhe.schemas.records.state import Acknowledgement, worker_key, worker_partition

_WAIT_SECONDS: Final = 0.02


class StillRevoking(Transient):
    """A revocation could not be completed in time; it goes on where it stopped."""


def carry_out(
    connection: Connection, engine: Engine, number: str, patience_seconds: float
) -> Generator[Step, None, None]:
    """Complete the revocation of a grant that was decided, yielding each step before it is taken, Closed last.

    Raises StillRevoking where one step waits longer than `patience_seconds`. Killed anywhere, or run twice at once, the
    revocation ends the same.
    """
    with PolicyLog(connection) as policy_log, _View(connection, engine) as seen:
        step, waits_since = None, time.monotonic()
        while not isinstance(step, Closed):
            following = next_step(policy_log.catch_up(), number, seen)
            if following != step:
                step, waits_since = following, time.monotonic()
                yield step
                _take(connection, engine, number, step)
            elif time.monotonic() - waits_since > patience_seconds:
                cause, cure = obstacle(step, number)
                raise StillRevoking(f"{number} is still being revoked", cause=cause, cure=cure)
            else:
                time.sleep(_WAIT_SECONDS)


def _take(connection: Connection, engine: Engine, number: str, step: Step) -> None:
    match step:
        case MarkEffective(edge=edge):
            ends = {str(partition): end for partition, end in edge.items()}
            with deciding(engine) as database:
                if not _is_decided(database, number):
                    sql.append(database, [Effective(grant=number, edge=ends)], clock.now())
        case Close(rule=rule):
            cluster.remove_rule(connection, rule)
        case _:
            pass


class Acknowledgements:
    """Which policy version each writer of the router has acknowledged. Use it in a `with` block, or close it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._states: dict[int, LogReader] = {}
        self._versions: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for state in self._states.values():
            state.close()

    def of(self, writer: str) -> int:
        """The policy version that a writer has acknowledged by now, 0 if none."""
        partition = worker_partition(writer)
        if partition not in self._states:
            self._states[partition] = LogReader(
                self._connection, names.ROUTER_STATE, partition, group=self._connection.account
            )
        for record in self._states[partition].read_to_end():
            key = (record.key or b"").decode()
            if record.value is not None and key.startswith(worker_key("")):
                self._versions[key] = Acknowledgement.decode(record.value).policy_version
        return self._versions.get(worker_key(writer), 0)


class _View:
    """The cluster and the outbox as `next_step` asks for them."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._acknowledgements = Acknowledgements(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._acknowledgements.close()

    def acknowledged(self, writer: str) -> int:
        return self._acknowledgements.of(writer)

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        with Admin(self._connection) as admin:
            stable = admin.end_offsets(topic, "read_committed")
            # Asked second: a log that ends where it was stable before has nothing pending.
            whole = admin.end_offsets(topic, "read_uncommitted")
        return whole if whole == stable else None

    def is_effective_decided(self, grant: str) -> bool:
        with transaction(self._engine) as database:
            return _is_decided(database, grant)

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        return cluster.brokers_with(self._connection, rule)


def _is_decided(database: Database, grant: str) -> bool:
    return any(body.grant == grant for body in sql.decided(database, Effective))
