"""The wire form of the `bus.*` records other than the policy log: Avro under fixed schema ids below 100."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from bianhe.schemas import wire
from bianhe.schemas.errors import Fatal

SCHEMA_IDS: Final[Mapping[str, int]] = {
    "journal-entry": 1,
    "position": 2,
    "view-position": 3,
    "acknowledgement": 4,
    "quarantined": 5,
    "standstill": 6,
    "manifest": 7,
}


class UnreadableRecord(Fatal):
    """A record of a bus topic is not what the bus writes there."""


@cache
def schema(name: str) -> dict[str, Any]:
    """The parsed Avro schema of a record; its text ships as `<name>.avsc`."""
    text = (resources.files("bianhe.schemas.records") / f"{name}.avsc").read_text(encoding="utf-8")
    parsed = parse_schema(json.loads(text))
    assert isinstance(parsed, dict)
    return parsed


@cache
def _head(name: str) -> bytes:
    return wire.frame(SCHEMA_IDS[name], b"")


def fields(record: object) -> dict[str, Any]:
    """A slotted record as Avro takes it; `dataclasses.asdict` copies what it finds, which is slower."""
    return {name: getattr(record, name) for name in type(record).__slots__}  # type: ignore[attr-defined]


def encode(name: str, fields: Mapping[str, Any]) -> bytes:
    """Write a record in the wire format."""
    out = BytesIO()
    out.write(_head(name))
    schemaless_writer(out, schema(name), fields)
    return out.getvalue()


def decode(name: str, value: bytes) -> dict[str, Any]:
    """Read a framed record; raises UnreadableRecord where it is another one."""
    if not value.startswith(_head(name)):
        raise UnreadableRecord(f"not a {name} record")
    fields = schemaless_reader(BytesIO(value[wire.HEAD_BYTES :]), schema(name), None)
    assert isinstance(fields, dict)
    return fields
