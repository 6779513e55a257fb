"""Source records of the shipped contracts, built with fastavro: synthetic, and only what a test does not care about."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from io import BytesIO
from typing import Any

import fastavro

from bianhe.schemas.contract import Contract, shipped
from bianhe.schemas.wire import frame

PERSON: dict[str, Any] = {
    "event_id": "01936f00-0000-7000-8000-000000000001",
    "event_kind": "CHANGED",
    "event_time": datetime.fromisoformat("2026-11-20T08:00:00+08:00"),
    "event_case": None,
    "citizen_id": "410202199001010018",
    "name": "王某",
    "sex": "1",
    "birth_date": date(1990, 1, 1),
    "status": "1",
    "death_date": None,
    "residence_division": "410212",
    "address": "祥符区模拟路1号",
    "address_id": None,
    "source_unit": "11410200MB12345672",
    "former_name": None,
    "ethnic_group": "01",
    "marital_status": "10",
    "migrated_from": None,
    "migrated_on": None,
    "contact_phone": None,
}


@cache
def contract(resource: str = "population") -> Contract:
    return Contract.parse(shipped(resource, 1))


def body(record: dict[str, Any], schema: Any = None) -> bytes:
    """The Avro body of a record under a schema (default: population's contract)."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema or dict(contract().schema)), record)
    return out.getvalue()


def person(schema_id: int = 100, **changes: Any) -> bytes:
    """A framed population record."""
    return frame(schema_id, body({**PERSON, **changes}))


def read(schema: Any, value: bytes) -> dict[str, Any]:
    """The fields of a framed record under its schema."""
    stream = BytesIO(value[5:])
    fields = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
    assert stream.read() == b""
    assert isinstance(fields, dict)
    return fields
