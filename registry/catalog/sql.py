"""The catalog in the database: import from a file, and what it says now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from bianhe.registry.catalog.bodies import ContractText, bodies, department_body
from bianhe.registry.catalog.entry import Catalog, CatalogItem, Department, InvalidCatalog, NoCatalog, Resource
from bianhe.registry.catalog.file import read_catalog
from bianhe.registry.contracts.registration import schema_text
from bianhe.registry.contracts.sql import bind, latest_text, schema_id, text_of
from bianhe.registry.contracts.sql import schema_text as schema_table
from bianhe.registry.policy.sql import append, decided
from bianhe.registry.sql import Instant, deciding, metadata, transaction
from bianhe.schemas import compatibility, names
from bianhe.schemas.contract import Contract
from bianhe.schemas.errors import Fault
from bianhe.schemas.records.policy import Body, Granted, OpenChannel, Revoked
from bianhe.schemas.records.policy import Department as DepartmentBody
from bianhe.schemas.records.policy import Resource as ResourceBody
from bianhe.schemas.view import open_view

catalog_table: Final = Table(
    "catalog",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("edition", String(20), nullable=False),
    Column("notice", String(100), nullable=False),
    Column("authority", String(40), nullable=False),
    Column("purposes", JSON, nullable=False),
    Column("writers", JSON, nullable=False),
    Column("imported_at", Instant, nullable=False),
)

department_table: Final = Table(
    "department",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("title", String(500), nullable=False),
    Column("uscc", String(18), nullable=False),
    Column("level", String(10), nullable=False),
    Column("clients", JSON, nullable=False),
    Column("bytes_per_second", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
)

resource_table: Final = Table(
    "resource",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("title", String(500), nullable=False),
    Column("provider", ForeignKey("department.code"), nullable=False),
    Column("source_of_record", ForeignKey("department.code"), nullable=False),
    Column("base", Boolean, nullable=False),
    Column("ndrc_code", String(64), nullable=False),
    Column("summary", Text, nullable=False),
    Column("format", String(500), nullable=False),
    Column("update_cycle", String(500), nullable=False),
    Column("version", Integer, nullable=False),
    Column("partitions", Integer, nullable=False),
    Column("erasure_days", Integer, nullable=False),
    Column("standing_consent", Boolean, nullable=False),
    Column("schema_id", ForeignKey("schema_text.id"), nullable=False),
)

item_table: Final = Table(
    "item",
    metadata,
    Column("resource", ForeignKey("resource.code"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("title", String(500), nullable=False),
    Column("part", String(10), nullable=False),
    Column("sharing", String(20), nullable=False),
    Column("condition", Text, nullable=False),
    Column("scope", JSON, nullable=False),
    Column("basis", JSON, nullable=True),
    Column("secrecy", String(10), nullable=False),
)

open_channel: Final = Table(
    "open_channel",
    metadata,
    Column("topic", String(200), primary_key=True),
    Column("resource", ForeignKey("resource.code"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("schema_id", ForeignKey("schema_text.id"), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: the catalog now in force, and the policy bodies it put into the outbox, by outbox id."""

    catalog: Catalog
    written: Mapping[str, Body] = field(default_factory=dict)


def import_catalog(engine: Engine, path: Path, routers: int, at: datetime) -> Imported:
    """Take over a catalog file whole, or nothing of it: raises InvalidCatalog with every fault.

    What it changes goes onto the policy log through the outbox; the same file again changes nothing.
    """
    catalog, contracts, findings = read_catalog(path)
    if findings.faults:
        raise InvalidCatalog(path.name, list(findings.faults))
    with deciding(engine) as connection:
        before = _stored(connection)
        # One that may have written is never forgotten: a revocation waits for it, or fences it.
        known = len(connection.execute(select(catalog_table.c.writers)).scalar() or ())
        writers = tuple(names.router_transactional_id(worker) for worker in range(max(routers, known)))
        if before and (faults := _succession_faults(connection, before, catalog, contracts, path.name)):
            raise InvalidCatalog(path.name, faults)
        texts = {code: schema_text(contract.schema) for code, contract in contracts.items()}
        in_force = {code: ContractText(schema_id(connection, text), text) for code, text in texts.items()}
        old = _bodies_in_force(connection, before) if before else []
        gone = (
            [department for department in before.departments if department.code not in catalog.department]
            if before
            else []
        )
        # An account that was disabled by itself stays so: only bianhe account enable opens it again.
        shut = _disabled(connection).intersection(before.department if before else ())
        changed = [body for body in bodies(catalog, in_force, writers, shut) if body not in old]
        changed += [department_body(department, enabled=False) for department in gone]
        _store(connection, catalog, in_force, writers, at)
        channels = [_next_channel(connection, resource, contracts[resource.code]) for resource in catalog.resources]
        changed += [channel for channel in channels if channel]
        return Imported(catalog, _write(connection, changed, at))


def load(connection: Connection) -> Catalog:
    """The catalog in force; raises NoCatalog before the first import."""
    catalog = _stored(connection)
    if catalog is None:
        raise NoCatalog("there is no catalog yet", cure="import one: bianhe catalog import <file>")
    return catalog


def show(engine: Engine) -> Catalog:
    """The catalog in force; raises NoCatalog before the first import."""
    with transaction(engine) as connection:
        return load(connection)


def resource_of(catalog: Catalog, code: str) -> Resource:
    """A resource of the catalog; raises NoCatalog if it has none of this code."""
    if code not in catalog.resource:
        raise NoCatalog(f"the catalog has no resource {code!r}", cure=f"it has {', '.join(catalog.resource)}")
    return catalog.resource[code]


def check_known(engine: Engine, department: str | None, resource: str | None) -> None:
    """Raise NoCatalog where a department or resource that is named is not in the catalog."""
    catalog = show(engine)
    if department is not None and department not in catalog.department:
        known = ", ".join(sorted(catalog.department))
        raise NoCatalog(f"the catalog has no department {department!r}", cure=f"it has {known}")
    if resource is not None:
        resource_of(catalog, resource)


def show_contract(engine: Engine, resource: str, version: int | None = None) -> Contract:
    """A contract of a resource, the present one without a version; raises NoCatalog."""
    with transaction(engine) as connection:
        present = resource_of(load(connection), resource).version
        wanted = present if version is None else version
        text = _text_of(connection, resource, wanted)
        if text is None:
            known = ", ".join(f"v{each}" for each in range(1, present + 1) if _text_of(connection, resource, each))
            raise NoCatalog(f"{resource} has no contract v{wanted}; it has {known}", cure="name one of these")
        return Contract.parse(text)


def contract_of(connection: Connection, resource: str, version: int) -> Contract:
    """The contract of a resource's version, as last imported; raises NoCatalog if there is none."""
    text = _text_of(connection, resource, version)
    if text is None:
        raise NoCatalog(f"the catalog has no resource {resource}.v{version}", cure="bianhe catalog show lists them")
    return Contract.parse(text)


def _text_of(connection: Connection, resource: str, version: int) -> str | None:
    present = select(schema_table.c.text).join(resource_table, resource_table.c.schema_id == schema_table.c.id)
    in_force = present.where(resource_table.c.code == resource, resource_table.c.version == version)
    subject = names.value_subject(names.source_topic(resource, version))
    return connection.execute(in_force).scalar() or latest_text(connection, subject)


def present_channel(connection: Connection, resource: str, version: int) -> str | None:
    """The topic of the open channel that is written now, None where there is none."""
    row = connection.execute(_channels(resource, version)).first()
    return None if row is None else str(row.topic)


def _channels(resource: str, version: int) -> Any:
    return (
        select(open_channel)
        .where(open_channel.c.resource == resource, open_channel.c.version == version)
        .order_by(open_channel.c.revision.desc())
    )


def _write(connection: Connection, changed: Sequence[Body], at: datetime) -> dict[str, Body]:
    """Put bodies into the outbox and their schemas under their subjects."""
    written = dict(zip(append(connection, changed, at), changed, strict=True))
    for outbox_id, body in written.items():
        if isinstance(body, ResourceBody):
            bind(
                connection, names.value_subject(names.source_topic(body.code, body.version)), body.schema_id, outbox_id
            )
        elif isinstance(body, OpenChannel):
            bind(connection, names.value_subject(body.topic), body.schema_id, outbox_id)
    return written


def _next_channel(connection: Connection, resource: Resource, contract: Contract) -> OpenChannel | None:
    view = open_view(contract)
    if not view.items:
        return None
    text = schema_text(view.schema())
    id = schema_id(connection, text)
    last = connection.execute(_channels(resource.code, resource.version)).first()
    if last is not None and last.schema_id == id:
        return None
    revision = 1 if last is None else last.revision + 1
    topic = names.open_topic(resource.code, resource.version, revision)
    connection.execute(
        insert(open_channel).values(
            topic=topic, resource=resource.code, version=resource.version, revision=revision, schema_id=id
        )
    )
    return OpenChannel(
        resource=resource.code,
        version=resource.version,
        revision=revision,
        topic=topic,
        schema_id=id,
        view_schema=text,
    )


def _succession_faults(
    connection: Connection, before: Catalog, catalog: Catalog, contracts: Mapping[str, Contract], file: str
) -> list[Fault]:
    """What a catalog may not change in the one before it: names on the cluster last for ever (design 3.1)."""
    faults = []
    for old in before.resources:
        place = f"{file}, resource {old.code}"
        new = catalog.resource.get(old.code)
        if new is None:
            faults.append(Fault(place, "resource-lasts", "is in force and cannot leave the catalog"))
        elif new.version < old.version:
            faults.append(Fault(place, "version-grows", f"version {old.version} is in force, {new.version} is older"))
        elif new.version == old.version:
            faults += _contract_faults(connection, old, new, contracts[old.code], place)
    return faults


def _contract_faults(
    connection: Connection, old: Resource, new: Resource, contract: Contract, place: str
) -> list[Fault]:
    faults = []
    if new.partitions != old.partitions:
        message = f"{old.partitions} partitions stay for the life of v{old.version}"
        faults.append(Fault(f"{place}, partitions", "partitions-last", message, cure="raise the version"))
    in_force = contract_of(connection, old.code, old.version)
    where = f"{place}, contract v{old.version}"
    faults += [
        Fault(f"{where}, {f.place}", f.rule, f.message, cure=f.cure)
        for f in (
            *compatibility.faults(dict(in_force.schema), dict(contract.schema)),
            *compatibility.revision_faults(in_force, contract),
        )
    ]
    channel = present_channel(connection, old.code, old.version)
    if channel and open_view(in_force).schema() != open_view(contract).schema():
        ended = {body.grant for body in decided(connection, Revoked)}
        live = [body.grant.number for body in decided(connection, Granted) if body.topic == channel]
        grants = [number for number in live if number not in ended]
        if grants:
            message = f"the open channel would change under grants ({len(grants)}, of which {grants[0]})"
            faults.append(Fault(where, "view-lasts", message, cure="end these grants first, then import"))
    return faults


def _bodies_in_force(connection: Connection, catalog: Catalog) -> list[Body]:
    writers = connection.execute(select(catalog_table.c.writers)).scalar_one()
    ids = connection.execute(select(resource_table.c.code, resource_table.c.schema_id))
    texts = {row.code: ContractText(row.schema_id, text_of(connection, row.schema_id)) for row in ids}
    return bodies(catalog, texts, tuple(writers), _disabled(connection))


def _disabled(connection: Connection) -> frozenset[str]:
    """Departments of which the last decision was to disable their account."""
    enabled = {body.code: body.enabled for body in decided(connection, DepartmentBody)}
    return frozenset(code for code, is_enabled in enabled.items() if not is_enabled)


def _stored(connection: Connection) -> Catalog | None:
    head = connection.execute(select(catalog_table)).first()
    if head is None:
        return None
    items: dict[str, list[CatalogItem]] = {}
    for row in connection.execute(select(item_table).order_by(item_table.c.position)):
        items.setdefault(row.resource, []).append(CatalogItem.model_validate(_fields(CatalogItem, row)))
    departments = select(department_table).where(department_table.c.enabled).order_by(department_table.c.position)
    resources = select(resource_table).order_by(resource_table.c.position)
    return Catalog.model_validate(
        {
            **_fields(Catalog, head),
            "department": [_fields(Department, row) for row in connection.execute(departments)],
            "resource": [
                {**_fields(Resource, row), "items": items.get(row.code, [])} for row in connection.execute(resources)
            ],
        }
    )


def _fields(model: type[BaseModel], row: Row[Any]) -> dict[str, Any]:
    """The columns of a row that are fields of a model."""
    return {key: value for key, value in row._mapping.items() if key in model.model_fields}


def _store(
    connection: Connection,
    catalog: Catalog,
    contracts: Mapping[str, ContractText],
    writers: tuple[str, ...],
    at: datetime,
) -> None:
    head = catalog.model_dump(mode="json", include={"edition", "notice", "authority", "purposes"})
    connection.execute(delete(catalog_table))
    connection.execute(insert(catalog_table).values(id=1, **head, writers=writers, imported_at=at))
    connection.execute(update(department_table).values(enabled=False))
    for position, department in enumerate(catalog.departments):
        _upsert(
            connection, department_table, {**department.model_dump(mode="json"), "position": position, "enabled": True}
        )
    for position, resource in enumerate(catalog.resources):
        row = resource.model_dump(mode="json", exclude={"items"})
        schema = contracts[resource.code].schema_id
        _upsert(connection, resource_table, {**row, "position": position, "schema_id": schema})
        connection.execute(delete(item_table).where(item_table.c.resource == resource.code))
        for place, item in enumerate(resource.items):
            values = {"resource": resource.code, "position": place, **item.model_dump(mode="json")}
            connection.execute(insert(item_table).values(values))


def _upsert(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    changed = connection.execute(update(table).where(table.c.code == row["code"]).values(row))
    if changed.rowcount == 0:
        connection.execute(insert(table).values(row))
