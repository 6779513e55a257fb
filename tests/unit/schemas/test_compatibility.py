"""A new contract follows an old one only if each reads what the other writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from bianhe.schemas import compatibility
from bianhe.schemas.compatibility import Mode, revision_faults
from bianhe.schemas.contract import Contract, shipped
from support.avro_records import contracts

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "compatibility" / "pairs.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_each_direction_is_refused_for_what_its_vector_names(vector: dict[str, Any]) -> None:
    backward = compatibility.faults(vector["old"], vector["new"], Mode.BACKWARD)
    forward = compatibility.faults(vector["old"], vector["new"], Mode.FORWARD)
    assert [fault.rule for fault in backward] == vector["backward"]
    assert [fault.rule for fault in forward] == vector["forward"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_full_is_both_directions(vector: dict[str, Any]) -> None:
    full = {fault.rule for fault in compatibility.faults(vector["old"], vector["new"])}
    assert full == {*vector["backward"], *vector["forward"]}


@given(contracts())
def test_a_contract_follows_itself(contract: Contract) -> None:
    assert compatibility.faults(dict(contract.schema), dict(contract.schema)) == []


def test_each_field_that_changes_is_named() -> None:
    def schema(*fields: tuple[str, Any]) -> dict[str, Any]:
        return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields]}

    inner = {"type": "record", "name": "Inner", "fields": [{"name": "at", "type": "long"}]}
    stamped = {**inner, "fields": [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
    old = schema(("name", "string"), ("age", "int"), ("seen", {"type": "map", "values": inner}))
    new = schema(("name", ["null", "string"]), ("age", "string"), ("seen", {"type": "map", "values": stamped}))
    assert {fault.place for fault in compatibility.faults(old, new)} == {"name", "age", "seen.values.at"}


def _population(change: Callable[[list[dict[str, Any]]], None]) -> Contract:
    schema = json.loads(shipped("population", 1))
    change(schema["fields"])
    return Contract.parse(json.dumps(schema))


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (lambda fields: None, []),
        (lambda fields: fields.append({**fields[-1], "name": "another"}), []),
        (lambda fields: fields.pop(), ["revision-keeps"]),
        (lambda fields: fields[5].update(type="bytes"), ["revision-type"]),
        (lambda fields: fields.append({**fields[5], "name": "another"}), ["revision-null"]),
    ],
)
def test_a_revision_within_a_version_adds_nullable_items_and_changes_none(
    change: Callable[[list[dict[str, Any]]], None], rules: list[str]
) -> None:
    found = revision_faults(_population(lambda fields: None), _population(change))
    assert [fault.rule for fault in found] == rules
