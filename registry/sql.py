"""The registry's database: what all its tables share. The tables stand with their parts, in `<part>/sql.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Column, Connection, DateTime, Dialect, Engine, Integer, MetaData, Table, TypeDecorator, update
from sqlalchemy.exc import DatabaseError, OperationalError

from bianhe.schemas.errors import Fatal, Transient

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""The same names on SQLite and PostgreSQL, so that one migration serves both."""


class Instant(TypeDecorator[datetime]):
    """An instant in UTC; SQLite forgets the zone, so it is given back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


turn: Final = Table("turn", metadata, Column("number", Integer, nullable=False))
"""One row that every deciding transaction updates first, so that they follow one another on any database."""


class DatabaseBusy(Transient):
    """The database did not answer, or another process held it for too long."""


class DatabaseUnusable(Fatal):
    """The database cannot be written, or is not one of the registry's."""


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction; nothing of it stays after an error.

    Raises DatabaseBusy or DatabaseUnusable in place of what the driver says.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (OperationalError, DatabaseError) as error:
        raise explained(error) from error


@contextmanager
def deciding(engine: Engine) -> Iterator[Connection]:
    """A transaction that decides: one at a time, so that numbers have no gap and what was read stays true."""
    with transaction(engine) as connection:
        connection.execute(update(turn).values(number=turn.c.number + 1))
        yield connection


def explained(error: DatabaseError) -> DatabaseBusy | DatabaseUnusable:
    """What a driver's error means; the statement and its values are left out, they may be personal."""
    said = str(error.orig)
    if "readonly" in said or "read-only" in said:
        return DatabaseUnusable(
            "the registry's database is read-only, nothing was changed",
            cause=said,
            cure="give this user write access to the database file and its folder, or connect to the primary",
        )
    if "locked" in said or "lock timeout" in said or "deadlock" in said:
        return DatabaseBusy(
            "the registry's database is locked, nothing was changed",
            cause="another process has held it for longer than the time to wait",
            cure="try again; if it stays, end the process that holds it",
        )
    if "no such table" in said or "does not exist" in said:
        return DatabaseUnusable(
            "the registry's database lacks its tables", cause=said.splitlines()[0], cure="start the bus: bianhe up"
        )
    if isinstance(error, OperationalError):
        return DatabaseBusy(
            "the registry's database does not answer",
            cause=said.splitlines()[0],
            cure="start it or correct its address, then try again",
        )
    return DatabaseUnusable("the registry's database refused a statement", cause=said.splitlines()[0])
