"""The contracts of the four base resources and the code tables they name."""

from __future__ import annotations

import json

import avro.schema
import fastavro
import pytest

from bianhe.schemas import code_tables
from bianhe.schemas.contract import Contract, Derivation, Item, Part, Sharing, shipped
from bianhe.schemas.identifiers import CHECKS, licence_id, uscc

RESOURCES = ("population", "legal-entity", "geospatial", "licence")
CONTRACTS = {resource: Contract.parse(shipped(resource, 1)) for resource in RESOURCES}
ITEMS = [(resource, item) for resource, contract in CONTRACTS.items() for item in contract.items]
TABLES = sorted({item.codes for _, item in ITEMS if item.codes})


@pytest.mark.parametrize("resource", RESOURCES)
def test_both_avro_libraries_read_a_contract(resource: str) -> None:
    text = shipped(resource, 1)
    parsed = avro.schema.parse(text)
    assert isinstance(parsed, avro.schema.RecordSchema)
    assert fastavro.schema.fullname(fastavro.parse_schema(json.loads(text))) == parsed.fullname


@pytest.mark.parametrize("resource", RESOURCES)
def test_base_items_are_unconditional_and_business_items_conditional(resource: str) -> None:
    contract = CONTRACTS[resource]
    assert (contract.resource, contract.version) == (resource, 1)
    for item in contract.items:
        assert (item.part is Part.BASE) == (item.sharing is Sharing.UNCONDITIONAL), item.name
    assert {item.part for item in contract.items} == set(Part)


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_natural_key_is_never_null_and_personal_keys_are_derived(resource: str) -> None:
    contract = CONTRACTS[resource]
    (key,) = (contract.by_name[name] for name in contract.key.items)
    assert not key.nullable
    if key.check in ("citizen-id", "licence-id"):
        assert contract.key.derivation is Derivation.HMAC


def test_item_codes_and_titles_are_unique_in_a_contract() -> None:
    assert len({item.code for _, item in ITEMS}) == len(ITEMS)
    assert len({(resource, item.title) for resource, item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize(("resource", "item"), ITEMS, ids=[f"{resource}.{item.name}" for resource, item in ITEMS])
def test_every_text_is_bounded_and_what_an_item_names_exists(resource: str, item: Item) -> None:
    assert item.kind != "string" or (item.length or 0) > 0
    assert 1 <= item.sensitivity <= 4
    assert item.check is None or item.check in CHECKS
    if item.codes is not None:
        assert {len(code) for code in code_tables.table(item.codes)} == {item.length}


@pytest.mark.parametrize("name", TABLES)
def test_a_code_table_has_titles_and_a_source(name: str) -> None:
    table = code_tables.table(name)
    assert table
    assert all(table.values())
    assert code_tables.source(name)


def test_the_error_of_a_sex_code_can_be_told_with_its_standard() -> None:
    assert code_tables.source("sex") == "GB/T 2261.1"
    assert tuple(code_tables.table("sex")) == ("0", "1", "2", "9")


def test_the_ethnic_groups_are_fifty_six_and_two() -> None:
    assert list(code_tables.table("ethnic-group")) == [*(f"{n:02}" for n in range(1, 57)), "97", "98"]


def test_divisions_that_live_on_in_identity_numbers_are_known() -> None:
    assert {"410211", "410212", "410224"} <= set(code_tables.table("division"))


def test_licence_types_begin_with_a_valid_credit_code() -> None:
    for code in code_tables.table("licence-type"):
        assert uscc.fault(code[:18]) is None
        assert licence_id.fault(licence_id.make(code, code[:18], "2026000001")) is None


def test_an_unknown_table_is_refused_with_the_known_ones() -> None:
    with pytest.raises(code_tables.UnknownTable) as refusal:
        code_tables.table("colour")
    assert "sex" in refusal.value.cure
