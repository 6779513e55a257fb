"""Names and sameness of schemas."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest

from bianhe.registry.contracts.registration import InvalidSchema, guid, schema_text, shape
from support.registry import POPULATION


def test_the_guid_is_the_digest_of_the_text() -> None:
    text = '{"type":"string"}'
    assert uuid.UUID(guid(text)).bytes == hashlib.md5(text.encode()).digest()


def test_a_schema_text_reads_back_as_the_schema() -> None:
    assert json.loads(schema_text(POPULATION.schema)) == POPULATION.schema
    assert "姓名" in schema_text(POPULATION.schema)


def _as_java_writes_it(schema: Any) -> Any:
    """Without properties, and with the string type that generated classes ask for."""
    if isinstance(schema, list):
        return [_as_java_writes_it(branch) for branch in schema]
    if schema == "string":
        return {"type": "string", "avro.java.string": "String"}
    if isinstance(schema, dict):
        kept = ("fields", "type", "name", "namespace", "symbols", "logicalType", "default")
        return {
            key: _as_java_writes_it(schema[key])
            if key in ("type", "fields") and schema[key] != "record"
            else schema[key]
            for key in kept
            if key in schema
        }
    return schema


def test_a_schema_that_a_client_rewrote_has_the_same_shape() -> None:
    assert shape(json.dumps(_as_java_writes_it(POPULATION.schema))) == shape(schema_text(POPULATION.schema))


def test_another_type_is_another_shape() -> None:
    other = json.loads(schema_text(POPULATION.schema))
    other["fields"][4]["type"] = "bytes"
    assert shape(json.dumps(other)) != shape(schema_text(POPULATION.schema))


@pytest.mark.parametrize("text", ["", "{", "[]]", "42", '{"type":"nonsense"}', '{"fields":[]}', "[" * 5000])
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchema):
        shape(text)
