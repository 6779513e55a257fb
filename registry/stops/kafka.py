"""Carries a stop out: onto the log first, then every access rule that it closes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from bianhe.infra.kafka.connection import Connection
from bianhe.registry.policy.kafka import append_stop, read_policy
from bianhe.registry.policy.sql import append
from bianhe.registry.sql import deciding
from bianhe.registry.stops.stop import new_stop
from bianhe.registry.sync.kafka import apply, plan_cluster
from bianhe.registry.sync.plan import RemoveRule
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.policy import Body, Target
from bianhe.schemas.signatures import SigningKey


def stop(connection: Connection, key: SigningKey, target: Target, code: str, reason: str, by: str, at: datetime) -> int:
    """Stop a department or a resource at once, needing the brokers and nothing else; its number on the log.

    Raises NoStop. Routers obey before they begin another transaction.
    """
    return append_stop(connection, key, new_stop(read_policy(connection), target, code, reason, by), at)


def close(admin: Connection, secret_files: Path) -> int:
    """Remove every access rule that the log does not carry any more; how many. Opens nothing."""
    steps = [step for step in plan_cluster(admin).steps if isinstance(step, RemoveRule)]
    apply(admin, steps, secret_files)
    return len(steps)


def answer(admin: Connection, engine: Engine, decided: Callable[[Policy], Body], at: datetime) -> str:
    """Put what a second person decided into the outbox; the id of its row. Raises what `decided` raises."""
    body = decided(read_policy(admin))
    with deciding(engine) as connection:
        return append(connection, [body], at)[0]
