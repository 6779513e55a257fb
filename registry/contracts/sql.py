"""Schemas in the database: identical text has one id; a version is seen once its policy record is numbered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    Select,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)

from bianhe.registry.contracts.registration import FIRST_ID, guid, shape
from bianhe.registry.contracts.registration import schema_text as schema_text_of
from bianhe.registry.policy.sql import outbox
from bianhe.registry.sql import metadata, transaction
from bianhe.schemas.records.codec import SCHEMA_IDS
from bianhe.schemas.records.codec import schema as record_schema

schema_text: Final = Table(
    "schema_text",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("guid", String(36), nullable=False, unique=True),
    Column("text", Text, nullable=False),
)

subject_version: Final = Table(
    "subject_version",
    metadata,
    Column("subject", String(250), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("schema_id", ForeignKey("schema_text.id"), nullable=False),
    Column("outbox_id", ForeignKey("outbox.id"), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema as one version of a subject."""

    subject: str
    version: int
    id: int
    guid: str
    text: str


@cache
def bus_records() -> tuple[Registered, ...]:
    """The schemas of the bus's own records under their fixed ids; the subject is the record's name, for some topics
    hold several (RecordNameStrategy)."""
    return tuple(_bus_record(name, id) for name, id in SCHEMA_IDS.items())


def schema_id(connection: Connection, text: str) -> int:
    """The id of this very text, a new one if it is new; the caller holds the turn."""
    known = connection.execute(select(schema_text.c.id).where(schema_text.c.guid == guid(text))).scalar()
    if known is not None:
        return int(known)
    last = connection.execute(select(func.max(schema_text.c.id))).scalar()
    new = FIRST_ID if last is None else last + 1
    connection.execute(insert(schema_text).values(id=new, guid=guid(text), text=text))
    return new


def bind(connection: Connection, subject: str, schema_id: int, outbox_id: str) -> None:
    """Make a schema the next version of a subject, unless it is one already; the policy record makes it visible."""
    versions = select(subject_version).where(subject_version.c.subject == subject)
    known = connection.execute(versions).all()
    if schema_id not in [row.schema_id for row in known]:
        version = max((row.version for row in known), default=0) + 1
        connection.execute(
            insert(subject_version).values(subject=subject, version=version, schema_id=schema_id, outbox_id=outbox_id)
        )


def text_of(connection: Connection, id: int) -> str:
    """The text of a schema, visible or not."""
    return str(connection.execute(select(schema_text.c.text).where(schema_text.c.id == id)).scalar_one())


def latest_text(connection: Connection, subject: str) -> str | None:
    """The text of a subject's last version, visible or not; None if there is none."""
    return connection.execute(
        select(schema_text.c.text)
        .join(subject_version, subject_version.c.schema_id == schema_text.c.id)
        .where(subject_version.c.subject == subject)
        .order_by(subject_version.c.version.desc())
    ).scalar()


def visible(connection: Connection, subjects: Collection[str] | None, **wanted: Any) -> list[Registered]:
    """The versions whose policy record is on the log, by subject and version.

    `subjects` limits the answer to what the asker may see, None is everything; `wanted` are columns: subject,
    version, id, guid.
    """
    return [
        Registered(row.subject, row.version, row.id, row.guid, row.text)
        for row in connection.execute(_visible(subjects, wanted))
    ]


def served(engine: Engine) -> frozenset[tuple[str, int]]:
    """Every subject that the registry serves, with each of its schema ids."""
    with transaction(engine) as connection:
        return frozenset((found.subject, found.id) for found in visible(connection, None))


def same_shape(candidates: list[Registered], text: str) -> Registered | None:
    """The latest of these whose bytes on the wire are those of a schema text; raises InvalidSchema."""
    wanted = shape(text)
    return next((found for found in reversed(candidates) if shape(found.text) == wanted), None)


def _bus_record(name: str, id: int) -> Registered:
    members = {member: value for member, value in record_schema(name).items() if not member.startswith("__")}
    text = schema_text_of(members)
    return Registered(str(members["name"]), 1, id, guid(text), text)


def _visible(subjects: Collection[str] | None, wanted: dict[str, Any]) -> Select[Any]:
    columns = {**subject_version.c, **schema_text.c}
    query = (
        select(subject_version.c.subject, subject_version.c.version, schema_text)
        .join(schema_text, schema_text.c.id == subject_version.c.schema_id)
        .join(outbox, outbox.c.id == subject_version.c.outbox_id)
        .where(outbox.c.number.is_not(None))
        .order_by(subject_version.c.subject, subject_version.c.version)
    )
    if subjects is not None:
        query = query.where(subject_version.c.subject.in_(subjects))
    for column, value in wanted.items():
        query = query.where(columns[column] == value)
    return query
