"""The engine of the registry's database: SQLite embedded, PostgreSQL in production."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from bianhe.schemas.errors import Rejected


class InvalidDatabase(Rejected):
    """The settings name no database that can be opened here."""


def engine(url: str, *, pooled: bool = False) -> Engine:
    """An engine for this SQLAlchemy URL; SQLite gets foreign keys, WAL and full durability. Raises InvalidDatabase.

    Only a process that stays keeps connections open (`pooled`); a command closes each after its transaction.
    """
    try:
        # A database in memory lives as long as its connection.
        made = create_engine(url) if pooled or url == "sqlite://" else create_engine(url, poolclass=NullPool)
    except (ArgumentError, ImportError) as error:
        # The address may carry a password: it is not shown.
        raise InvalidDatabase(
            "the address of the registry's database cannot be used",
            cause="it is no SQLAlchemy URL, or the driver that it names is not installed",
            cure="correct it (BIANHE_DATABASE, or database in bianhe.toml): sqlite:///… or postgresql+psycopg://…",
        ) from error
    if made.dialect.name == "sqlite":
        event.listen(made, "connect", _prepare_sqlite)
    return made


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
