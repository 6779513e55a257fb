"""Bodies of policy records that really compile: population, its open channel, one grant with a mailbox."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from bianhe.schemas.contract import Contract, shipped
from bianhe.schemas.grant import Grant, Mask, parse_row_rule
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.policy import GENESIS, Body, Granted, OpenChannel, PolicyRecord, Resource, Writers
from bianhe.schemas.view import open_view

SOURCE = "source.population.v1"
OPEN = "open.population.v1.r1"
MAILBOX = "grant.renshe.population.v1.g-2026-0001"


def policy(*bodies: Body) -> Policy:
    """The policy after these records."""
    records: list[PolicyRecord] = []
    for body in bodies:
        previous, number = records[-1].hash if records else GENESIS, len(records) + 1
        at = datetime(2026, 11, 22, tzinfo=UTC)
        records.append(PolicyRecord(number=number, previous=previous, id=f"id-{number}", at=at, body=body))
    return fold(EMPTY, records)


def writers(count: int = 1) -> Writers:
    return Writers(transactional_ids=tuple(f"bus.router.{number}" for number in range(count)))


def population(partitions: int = 1, code: str = "population") -> Resource:
    return Resource(
        code=code,
        provider="gongan",
        version=1,
        partitions=partitions,
        erasure_days=30,
        schema_id=100,
        contract=shipped("population", 1),
    )


def channel() -> OpenChannel:
    schema = json.dumps(open_view(Contract.parse(shipped("population", 1))).schema())
    return OpenChannel(resource="population", version=1, revision=1, topic=OPEN, schema_id=101, view_schema=schema)


def granted(row_rule: str = "", masks: tuple[str, ...] = (), until: str = "2027-12-31") -> Granted:
    """G-2026-0001: name, identity number and ethnic group for renshe."""
    grant = Grant(
        number="G-2026-0001",
        department="renshe",
        resource="population",
        version=1,
        items=("citizen_id", "name", "ethnic_group"),
        masks=tuple(Mask.parse(mask) for mask in masks),
        row_rule=parse_row_rule(row_rule) if row_rule else (),
        purpose="业务协同",
        basis="示例,待核",
        scenario="测试",
        scope="测试",
        until=date.fromisoformat(until),
    )
    return Granted(grant=grant, digest=grant.digest, topic=MAILBOX, schema_id=102, view_schema="")
