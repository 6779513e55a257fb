"""The outbox of the policy log: what a use case decided, on its way to `bus.policy` (design 3.4).

A row carries an id and no number; the log alone numbers, and the relay brings the number back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, TypeVar, get_args
from uuid import uuid4

from sqlalchemy import Column, Connection, Engine, Integer, Select, String, Table, Text, func, insert, select, update

from bianhe.registry.policy.chain import OutboxRow
from bianhe.registry.sql import Instant, metadata, transaction
from bianhe.schemas.errors import Fatal
from bianhe.schemas.records.policy import (
    Body,
    Change,
    Closed,
    Department,
    Effective,
    Granted,
    PolicyRecord,
    Resumed,
    Revoked,
    Suspended,
    decode_body,
    encode_body,
)

_Body = TypeVar("_Body", Department, Granted, Revoked, Effective, Closed)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(20), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("number", Integer, nullable=True, unique=True),
    Column("after", String(20), nullable=True),
)
"""`after` is a grant that must be stopped, its end on the log, before this row goes there."""

# Made once: the relay asks twenty times a second, and making it takes as long as asking.
_UNNUMBERED: Final = (
    select(outbox.c.id, outbox.c.at, outbox.c.body, outbox.c.after)
    .where(outbox.c.number.is_(None))
    .order_by(outbox.c.position)
)


class NumberedTwice(Fatal):
    """The policy log gives a record another number than the database knows."""


def append(connection: Connection, bodies: Iterable[Body], at: datetime, *, after: str | None = None) -> list[str]:
    """Put bodies into the outbox within the caller's transaction; returns their ids, in order.

    With `after` they wait until nothing more is delivered under this grant, which is being revoked.
    """
    ids = []
    for body in bodies:
        ids.append(str(uuid4()))
        row = {"id": ids[-1], "at": at, "kind": body.kind, "body": encode_body(body), "after": after}
        connection.execute(insert(outbox).values(row))
    return ids


def pending(connection: Connection) -> list[OutboxRow]:
    """The rows that have no number yet and may have one, in the order in which they were decided."""
    rows = connection.execute(_UNNUMBERED).all()
    stopped = _stopped(connection) if any(row.after for row in rows) else frozenset()
    found, waiting = [], set[str]()
    for row in rows:
        body = decode_body(row.body)
        grant = _grant_of(body)
        if grant in waiting or (row.after and row.after not in stopped):
            # What was decided of a grant that waits comes after it.
            waiting.add(grant)
        else:
            found.append(OutboxRow(row.id, row.at, body))
    return found


def _grant_of(body: Body) -> str:
    match body:
        case Granted(grant=grant):
            return grant.number
        case Closed(receipt=receipt):
            return receipt.grant
        case Suspended() | Resumed() | Revoked() | Effective():
            return body.grant
        case _:
            return ""


def _stopped(connection: Connection) -> frozenset[str]:
    """The grants under which nothing more is delivered, by a record that has its number."""
    query = select(outbox.c.body).where(outbox.c.kind == "effective", outbox.c.number.is_not(None))
    bodies = [decode_body(row.body) for row in connection.execute(query)]
    return frozenset(body.grant for body in bodies if isinstance(body, Effective))


def decided(
    connection: Connection, kind: type[_Body], *, naming: str = "", besides: Select[tuple[str]] | None = None
) -> list[_Body]:
    """Every body of one kind that was ever decided here, numbered or not, in order.

    With `naming` those alone that say this word somewhere, such as a grant's number; without the rows of `besides`.
    """
    query = select(outbox.c.body).where(outbox.c.kind == kind.model_fields["kind"].default)
    if naming:
        query = query.where(outbox.c.body.contains(f'"{naming}"', autoescape=True))
    if besides is not None:
        query = query.where(outbox.c.id.not_in(besides))
    bodies = [decode_body(row.body) for row in connection.execute(query.order_by(outbox.c.position))]
    return [body for body in bodies if isinstance(body, kind)]


def changes(connection: Connection) -> list[Change]:
    """Everything that was ever decided of the grants after they were given, in order."""
    kinds = [kind.model_fields["kind"].default for kind in get_args(Change)]
    rows = connection.execute(select(outbox.c.body).where(outbox.c.kind.in_(kinds)).order_by(outbox.c.position))
    bodies = [decode_body(row.body) for row in rows]
    return [body for body in bodies if isinstance(body, Suspended | Resumed | Revoked | Effective | Closed)]


def standing_since(connection: Connection, grant: str) -> datetime:
    """When a suspended grant was suspended, the first time since it last went on."""
    kinds = ("suspended", "resumed")
    since: datetime | None = None
    for row in connection.execute(select(outbox).where(outbox.c.kind.in_(kinds)).order_by(outbox.c.position)):
        body = decode_body(row.body)
        if isinstance(body, Suspended | Resumed) and body.grant == grant:
            since = (since or row.at) if isinstance(body, Suspended) else None
    assert since is not None
    return since


def numbered(connection: Connection, id: str, number: int) -> bool:
    """Write down the number that the log gave a row; false if the row is unknown here.

    Writing the same number again changes nothing; raises NumberedTwice for another one.
    """
    known = connection.execute(select(outbox.c.number).where(outbox.c.id == id)).first()
    if known is None:
        return False
    if known.number not in (None, number):
        raise NumberedTwice(
            f"the policy log says {number} where the database says {known.number}",
            cause="the database is not the one that this log was written from",
            cure="stop the registry and compare both with a backup",
        )
    connection.execute(update(outbox).where(outbox.c.id == id).values(number=number))
    return True


def learn(connection: Connection, records: Iterable[PolicyRecord]) -> int:
    """Take over what the log says and this database does not: numbers, and rows that a restored backup lacks.

    Returns how many rows were new; raises NumberedTwice.
    """
    known = {row.id: row.number for row in connection.execute(select(outbox.c.id, outbox.c.number))}
    new = 0
    for record in records:
        if record.id not in known:
            facts = {"at": record.at, "kind": record.body.kind, "body": encode_body(record.body)}
            connection.execute(insert(outbox).values(id=record.id, number=record.number, **facts))
            new += 1
        elif known[record.id] != record.number:
            numbered(connection, record.id, record.number)
    return new


def beyond(connection: Connection, number: int) -> list[OutboxRow]:
    """The rows that the log numbered after this one, in its order."""
    rows = connection.execute(select(outbox).where(outbox.c.number > number).order_by(outbox.c.number))
    return [OutboxRow(row.id, row.at, decode_body(row.body)) for row in rows]


def highest_number(connection: Connection) -> int:
    """The last number read back from the log, 0 before the first."""
    return connection.execute(select(func.max(outbox.c.number))).scalar() or 0


def number_of(connection: Connection, id: str) -> int | None:
    """The number of a row, None while it waits for the relay."""
    return connection.execute(select(outbox.c.number).where(outbox.c.id == id)).scalar()


def knows(connection: Connection, id: str) -> bool:
    """Whether a row of this id was ever decided here, numbered or not."""
    return connection.execute(select(outbox.c.id).where(outbox.c.id == id)).first() is not None


def highest_of(engine: Engine, ids: Collection[str]) -> int | None:
    """The highest number of these rows once all of them have one, None before."""
    with transaction(engine) as connection:
        numbers = [number_of(connection, id) for id in ids]
    return max((number for number in numbers if number is not None), default=None) if all(numbers) else None
