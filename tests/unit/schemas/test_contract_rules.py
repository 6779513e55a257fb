"""R20: a schema is a contract only if it is safe to walk and read alike by every Avro library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastavro.schema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas import contract_rules
from bianhe.schemas.contract import EVENT_FIELDS, Contract, shipped
from support.avro_records import contracts

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "contract_rules" / "schemas.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_schema_breaks_exactly_the_rules_its_vector_names(vector: dict[str, Any]) -> None:
    assert [fault.rule for fault in contract_rules.faults(vector["schema"])] == vector["rules"]


def test_the_place_of_a_fault_is_the_path_of_its_field() -> None:
    street = {"name": "street", "type": ["string", "null"]}
    address = {"type": "record", "name": "Address", "fields": [street]}
    schema = {
        "type": "record",
        "name": "Person",
        "fields": [{"name": "addresses", "type": {"type": "array", "items": address}}],
    }
    assert [fault.place for fault in contract_rules.faults(schema)] == ["addresses.items.street"]


@pytest.mark.parametrize("wrap", [lambda part: [part], lambda part: {"type": part}, lambda part: {"items": part}])
def test_no_depth_of_nesting_is_too_deep_to_refuse(wrap: Any) -> None:
    schema: Any = "string"
    for _ in range(100_000):
        schema = wrap(schema)
    record = {"type": "record", "name": "R", "fields": [{"name": "deep", "type": schema}]}
    assert [fault.rule for fault in contract_rules.faults(record)] == ["contract-depth"]


def test_a_schema_of_more_than_64_kib_is_refused_and_one_of_64_is_not() -> None:
    def schema(size: int) -> dict[str, Any]:
        empty = {"type": "record", "name": "R", "fields": [], "doc": ""}
        return {**empty, "doc": "x" * (size - len(json.dumps(empty, separators=(",", ":"))))}

    assert contract_rules.faults(schema(65536)) == []
    assert [fault.rule for fault in contract_rules.faults(schema(65537))] == ["contract-size"]


def test_text_that_is_no_unicode_is_refused() -> None:
    schema = {"type": "record", "name": "R", "fields": [], "doc": "\ud800"}
    assert [fault.rule for fault in contract_rules.faults(schema)] == ["contract-json"]


@pytest.mark.parametrize("default", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_know_is_refused(default: str) -> None:
    number = json.loads(f'{{"name": "x", "type": "double", "default": {default}}}')
    schema = {"type": "record", "name": "R", "fields": [number]}
    assert [fault.rule for fault in contract_rules.faults(schema)] == ["contract-json"]


def with_first_item(key: object, **properties: object) -> Contract:
    """The population with another key, its first item stated otherwise."""
    schema = json.loads(shipped("population", 1))
    schema["fields"][len(EVENT_FIELDS)].update(properties)
    return Contract.parse(json.dumps({**schema, "key": key}))


HMAC = {"items": ["citizen_id"], "derivation": "hmac"}


@pytest.mark.parametrize(
    ("key", "properties", "rule"),
    [
        (HMAC, {"codes": "no-such-table"}, "contract-codes"),
        (HMAC, {"codes": ["sex"]}, "contract-codes"),
        (HMAC, {"check": "no-such-check"}, "contract-check"),
        *((HMAC, {"length": length}, "contract-length") for length in ("5", 0, -1, True)),
        ({"items": [], "derivation": "hmac"}, {}, "contract-key"),
        ({"items": ["citizen_id", "name"], "derivation": "natural"}, {}, "contract-key"),
        *((HMAC, {"type": kind}, "contract-key") for kind in ("double", "bytes", ["null", "string"])),
        (HMAC, {"type": {"type": "array", "items": "string"}}, "contract-key"),
    ],
)
def test_a_contract_that_nobody_could_publish_under_is_told_apart(
    key: object, properties: dict[str, object], rule: str
) -> None:
    assert [fault.rule for fault in contract_rules.unusable(with_first_item(key, **properties))] == [rule]


def test_the_contracts_that_ship_can_be_published_under() -> None:
    for resource in ("population", "legal-entity", "geospatial", "licence"):
        contract = Contract.parse(shipped(resource, 1))
        assert [*contract_rules.faults(contract.schema), *contract_rules.unusable(contract)] == []


WORDS = st.sampled_from(
    ["type", "name", "fields", "items", "values", "symbols", "size", "default", "namespace", "aliases", "logicalType",
     "precision", "record", "enum", "fixed", "array", "map", "null", "string", "int", "bytes", "decimal", "R", "E"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)


@given(JSON, JSON)
def test_any_json_is_answered_and_what_passes_is_parsed_by_fastavro(kind: Any, rest: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}, rest]}
    for each in (kind, schema, {**schema, "fields": [{"name": "a", "type": kind, "default": rest}]}):
        if contract_rules.faults(each) == []:
            fastavro.schema.parse_schema(each)


@given(contracts())
def test_contracts_within_the_rules_pass(contract: Contract) -> None:
    assert contract_rules.faults(contract.schema) == []
