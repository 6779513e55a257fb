"""The synthetic city: deterministic, valid under its contracts, plausible."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.history import columns, events, story_citizen
from bianhe.schemas.code_tables import table
from bianhe.schemas.contract import EVENT_KINDS, Contract, Item, shipped
from bianhe.schemas.identifiers import CHECKS, citizen_id

RESOURCES = ("population", "legal-entity", "geospatial", "licence")
CONTRACTS = {resource: Contract.parse(shipped(resource, 1)) for resource in RESOURCES}
COUNT = 4_000
SEED = 7

Row = dict[str, str]


@cache
def rows(resource: str) -> tuple[Row, ...]:
    return tuple(events(resource, COUNT, SEED))


def kept(resource: str) -> Iterator[Row]:
    return (row for row in rows(resource) if row["event_kind"] != "REMOVED")


def by_entity(resource: str) -> dict[str, list[Row]]:
    (key,) = CONTRACTS[resource].key.items
    histories: dict[str, list[Row]] = defaultdict(list)
    for row in rows(resource):
        histories[row[key]].append(row)
    return histories


def fault(item: Item, text: str) -> str | None:
    """What an importer would have against a value; the reading raises where the text is not of the item's type."""
    if not text:
        return None if item.nullable else "empty"
    match item.kind:
        case "string":
            if len(text) > (item.length or 0):
                return "too long"
            if item.codes and text not in table(item.codes):
                return "not in the code table"
            return CHECKS[item.check](text) if item.check else None
        case "date":
            date.fromisoformat(text)
        case "decimal":
            assert Decimal(text).as_tuple().exponent == -item.value_type["scale"]
        case "int":
            int(text)
        case "double":
            float(text)
        case "bytes":
            bytes.fromhex(text)
        case "boolean":
            return None if text in ("true", "false") else "not a boolean"
        case "enum":
            return None if text in item.value_type["symbols"] else "no symbol"
        case other:
            raise AssertionError(f"the city writes no {other}")
    return None


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_value_is_valid_under_its_contract(resource: str) -> None:
    contract = CONTRACTS[resource]
    for row in kept(resource):
        faults = {item.name: found for item in contract.items if (found := fault(item, row[item.name]))}
        assert not faults, row


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_same_seed_tells_the_same_history_and_another_seed_another(resource: str) -> None:
    assert tuple(events(resource, COUNT, SEED)) == rows(resource)
    assert next(events(resource, COUNT, SEED + 1)) != rows(resource)[0]


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 101])
def test_there_are_exactly_as_many_events_as_were_asked_for(resource: str, count: int) -> None:
    assert sum(1 for _ in events(resource, count, SEED)) == count


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_columns_are_those_of_the_contract_in_its_order(resource: str) -> None:
    expected = tuple(field["name"] for field in CONTRACTS[resource].schema["fields"])
    assert columns(resource) == expected
    assert {tuple(row) for row in rows(resource)} == {expected}


@pytest.mark.parametrize("resource", RESOURCES)
def test_event_ids_are_distinct_uuids_of_the_time_of_the_event(resource: str) -> None:
    assert len({row["event_id"] for row in rows(resource)}) == COUNT
    for row in rows(resource)[:200]:
        identifier = UUID(row["event_id"])
        assert (identifier.version, identifier.variant) == (7, "specified in RFC 4122")
        moment = datetime.fromisoformat(row["event_time"])
        assert moment.utcoffset() is not None
        assert identifier.int >> 80 == round(moment.timestamp() * 1000)


@pytest.mark.parametrize("resource", RESOURCES)
def test_time_never_goes_back(resource: str) -> None:
    times = [datetime.fromisoformat(row["event_time"]) for row in rows(resource)]
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize("resource", RESOURCES)
def test_an_entity_begins_once_and_ends_at_most_once(resource: str) -> None:
    for history in by_entity(resource).values():
        kinds = [row["event_kind"] for row in history]
        assert kinds[0] == "CREATED"
        assert kinds.count("CREATED") == 1
        assert not {"CANCELLED", "REMOVED"} & set(kinds[:-1])


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_kind_of_change_happens_and_entities_change_more_than_once(resource: str) -> None:
    kinds = {row["event_kind"] for row in rows(resource)}
    assert kinds == {*EVENT_KINDS, "REMOVED"} - {"SNAPSHOT"}
    assert len(by_entity(resource)) < COUNT * 0.8


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_removal_says_no_more_than_its_key_and_a_correction_alone_answers_an_objection(resource: str) -> None:
    key = CONTRACTS[resource].key.items
    for row in rows(resource):
        if row["event_kind"] == "REMOVED":
            assert {name for name in CONTRACTS[resource].by_name if row[name]} == set(key)
        assert not row["event_case"] or row["event_kind"] == "CORRECTED"


def test_a_person_fits_the_identity_number_and_dies_after_being_born() -> None:
    for row in kept("population"):
        assert citizen_id.birth_date(row["citizen_id"]).isoformat() == row["birth_date"]
        assert int(row["citizen_id"][16]) % 2 == int(row["sex"] == "1")
        assert row["birth_date"] <= row["event_time"][:10]
        assert (row["status"] == "3") == bool(row["death_date"])
        assert not row["death_date"] or row["birth_date"] <= row["death_date"] <= row["event_time"][:10]


def test_an_organisation_is_closed_after_it_was_established() -> None:
    for row in kept("legal-entity"):
        assert row["established_on"] <= row["event_time"][:10]
        assert (row["status"] in "34") == bool(row["closed_on"])
        assert not row["closed_on"] or row["established_on"] <= row["closed_on"]


def test_what_one_register_names_another_one_keeps() -> None:
    people, organisations, features, licences = (set(by_entity(resource)) for resource in RESOURCES)
    assert {row["address_id"] for row in kept("population")} <= features
    assert {row["representative_id"] for row in kept("legal-entity")} <= people
    assert {row["parent_id"] for row in kept("geospatial") if row["parent_id"]} <= features
    assert {row["holder_code"] for row in kept("licence")} <= people | organisations
    assert {row["previous_licence_id"] for row in kept("licence") if row["previous_licence_id"]} <= licences


def test_a_geometry_is_wkb_of_its_type_with_the_longitude_first() -> None:
    for row in kept("geospatial"):
        geometry = bytes.fromhex(row["geometry"])
        points = {"POINT": 1, "LINESTRING": 3, "POLYGON": 5}[row["geometry_type"]]
        head = {"POINT": 5, "LINESTRING": 9, "POLYGON": 13}[row["geometry_type"]]
        assert len(geometry) == head + 16 * points
        longitude, latitude = struct.unpack_from("<dd", geometry, head)
        assert 114 < longitude < 115
        assert 34 < latitude < 35


@pytest.mark.parametrize("count", [2, 10, 99, COUNT])
def test_the_person_of_the_story_is_registered_first_in_410212_and_dies_near_the_end(count: int) -> None:
    history = list(events("population", count, SEED))
    story = [place for place, row in enumerate(history) if row["citizen_id"] == story_citizen(SEED)]
    assert story == [0, count - 1 - count // 100]
    assert {history[place]["residence_division"] for place in story} == {"410212"}
    last = history[story[1]]
    assert (last["event_kind"], table("household-status")[last["status"]]) == ("CANCELLED", "死亡注销")


@given(st.integers(0, 2**32), st.sets(st.integers(0, 1_000_000), min_size=2, max_size=20))
def test_no_two_inhabitants_share_an_identifier(seed: int, numbers: set[int]) -> None:
    assert len({city.person(seed, number).citizen_id for number in numbers}) == len(numbers)
    assert len({city.organisation(seed, number).uscc for number in numbers}) == len(numbers)
    assert len({city.address(seed, number).feature_id for number in numbers}) == len(numbers)


def test_every_inhabitant_shows_that_it_is_made_up() -> None:
    assert all(row["citizen_id"][14] == "9" for row in rows("population"))
    assert all(row["uscc"][8:11] == "MAX" for row in rows("legal-entity"))
    assert all(row["contact_phone"].startswith("0371-0") for row in kept("legal-entity"))
