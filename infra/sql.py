"""The engine of the registry's database: SQLite embedded, PostgreSQL in production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from bianhe.schemas.errors import Rejected


class InvalidDatabase(Rejected):
    """The settings name no database that can be opened here."""


class NoDatabase(Rejected):
    """There is no file where the database should be."""


def engine(url: str, *, pooled: bool = False) -> Engine:
    """An engine for this SQLAlchemy URL; SQLite gets foreign keys, WAL and full durability. Raises InvalidDatabase.

    A connection raises NoDatabase where the file is not there: SQLite would make an empty one in its place.
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
        if file := _file(made):
            event.listen(made, "do_connect", lambda *_: _check_there(file))
    return made


def create(engine: Engine) -> None:
    """Make an empty database where there is none; on PostgreSQL its administrator has made it."""
    if file := _file(engine):
        file.touch(mode=0o600)


def _file(engine: Engine) -> Path | None:
    """The file of a SQLite database, unless it is in memory or named by a URI with options of its own."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or name in (None, "", ":memory:") or str(name).startswith("file:"):
        return None
    return Path(str(name))


def _check_there(file: Path) -> None:
    if not file.exists():
        raise NoDatabase(
            f"there is no database {file}",
            cause="the bus was never started here, the settings name another place, or the file was moved or deleted",
            cure="if it was lost, put the newest backup in its place; if there never was one, start the bus: bianhe up",
        )


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
