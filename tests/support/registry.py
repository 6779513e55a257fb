"""A registry for tests: the sample catalog, applications as departments write them, a relay that only numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import Engine, insert

from bianhe.registry.accounts.sql import account
from bianhe.registry.catalog.file import read_catalog
from bianhe.registry.catalog.sql import Imported, import_catalog
from bianhe.registry.policy.sql import highest_number, numbered, pending
from bianhe.registry.sharing.application import Request
from bianhe.registry.sql import transaction
from bianhe.schemas.contract import Contract, shipped

SAMPLE = Path(__file__).parents[2] / "infra" / "demo" / "catalog.toml"
NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
"""A Monday morning in the city."""
CATALOG, CONTRACTS, _ = read_catalog(SAMPLE)
POPULATION = Contract.parse(shipped("population", 1))


def with_sample(engine: Engine, routers: int = 1) -> Imported:
    """Import the sample catalog, for as many workers as the bus has."""
    return import_catalog(engine, SAMPLE, routers, NOW)


def request(**other: Any) -> Request:
    """A department's request for migration data of the population, complete but for what a test changes."""
    complete: dict[str, Any] = {
        "department": "renshe",
        "resource": "population",
        "items": ("citizen_id", "name", "migrated_on"),
        "purpose": "业务协同",
        "basis": "社会保险法 第五十七条第三款",
        "scenario": "养老保险关系转移",
        "scope": "全市参保人员",
        "until": date(2027, 12, 31),
        "declared": True,
    }
    return Request(**{**complete, **other})


def number_all(engine: Engine) -> int:
    """Number what waits in the outbox, as the relay does when the log has it; gives the last number."""
    with transaction(engine) as connection:
        for row in pending(connection):
            numbered(connection, row.id, highest_number(connection) + 1)
        return highest_number(connection)


def give_passwords(engine: Engine, passwords: Mapping[str, str]) -> None:
    """Passwords as the registry keeps them, hashed with so little work that tests stay quick."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    rows = [{"code": code, "password_hash": quick.hash(password)} for code, password in passwords.items()]
    with transaction(engine) as connection:
        connection.execute(insert(account), rows)
