"""What a contract forbids is refused with its field and reason, and shows no whole personal value."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.producers.validation import InvalidEvent, Validator
from bianhe.schemas.contract import Contract, InvalidContract, shipped
from support.rows import POPULATION, number, person

POPULATION_VALIDATOR = Validator.of(POPULATION)


def contract_of(avro_type: Any, **properties: Any) -> Contract:
    """Population with one more item."""
    schema = json.loads(shipped("population", 1))
    field = {"name": "extra", "type": avro_type, "title": "示例", "code": "X-1", "part": "base"}
    schema["fields"].append(field | {"sharing": "unconditional", "sensitivity": 1} | properties)
    return Contract.parse(json.dumps(schema))


def fault(items: dict[str, Any], validator: Validator = POPULATION_VALIDATOR) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as raised:
        validator(items)
    return raised.value


def test_a_valid_event_passes_with_nullable_items_left_out() -> None:
    POPULATION_VALIDATOR(person())
    POPULATION_VALIDATOR({name: value for name, value in person().items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"sex": "5"}, "sex", "5 is not in GB/T 2261.1 (0, 1, 2, 9)"),
        ({"sex": "王某"}, "sex", "is not in GB/T 2261.1 (0, 1, 2, 9)"),
        ({"ethnic_group": "99"}, "ethnic_group", "99 is not in GB/T 3304"),
        ({"name": "王" * 51}, "name", "51 characters, at most 50"),
        ({"name": None}, "name", "is missing and must not be"),
        ({"name": 5}, "name", "must be text, not int"),
        ({"name": "王\0"}, "name", "holds a null character"),
        ({"name": "王\ud800"}, "name", "holds half of a character"),
        ({"birth_date": "1990-01-01"}, "birth_date", "must be a date, not str"),
        ({"birth_date": datetime(1990, 1, 1, tzinfo=UTC)}, "birth_date", "must be a date, not datetime"),
        ({"nationality": "x"}, "nationality", "is no item of population.v1"),
    ],
)
def test_an_item_that_breaks_the_contract_is_named_with_its_reason(
    changes: dict[str, Any], field: str, reason: str
) -> None:
    found = fault(person(**changes))
    assert (found.field, found.reason, found.shown) == (field, reason, "")


def test_a_wrong_check_digit_shows_the_ends_of_the_number_only() -> None:
    right = number()
    wrong = right[:17] + ("0" if right[17] != "0" else "1")
    found = fault(person(citizen_id=wrong))
    assert found.field == "citizen_id"
    assert found.reason == f"check digit is {wrong[17]}, must be {right[17]}"
    assert found.shown == f"{wrong[:4]}…{wrong[-4:]}"
    assert wrong not in str(found)


@given(st.sampled_from(sorted(POPULATION.by_name)), st.text(min_size=8, max_size=300))
def test_no_error_holds_the_whole_of_a_value(name: str, value: str) -> None:
    told = ""
    try:
        POPULATION_VALIDATOR(person(**{name: value}))
    except InvalidEvent as error:
        told = f"{error} {error.cause} {error.cure} {error.shown}"
    assert value not in told


def test_length_counts_code_points_not_bytes() -> None:
    POPULATION_VALIDATOR(person(name="𠮷" * 50))
    assert fault(person(name="𠮷" * 51)).reason == "51 characters, at most 50"


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
PLACE = {
    "type": "record",
    "name": "Place",
    "fields": [
        {"name": "name", "type": "string"},
        {
            "name": "here",
            "type": ["null", {"type": "record", "name": "P", "fields": [{"name": "x", "type": "double"}]}],
        },
        {"name": "former", "type": {"type": "array", "items": "P"}},
    ],
}
TAGS = {"type": "map", "values": ["null", {"type": "array", "items": "long"}]}
SHAPE = {"type": "enum", "name": "Shape", "symbols": ["POINT", "LINE"]}


@pytest.mark.parametrize(
    ("avro_type", "right", "wrong"),
    [
        ("int", [0, -(2**31), 2**31 - 1], [2**31, -(2**31) - 1, 1.0, True, "1"]),
        ("long", [2**63 - 1], [2**63, False]),
        ("double", [1, 1.5, -0.0, 1e308, 10**308], [math.nan, math.inf, 10**400, Decimal(1), True]),
        ("float", [1, -3.4028234663852886e38], [math.nan, -math.inf, 3.402823466385289e38, 10**39, 10**400, "1"]),
        ("boolean", [True, False], [1, "true"]),
        ("bytes", [b"", b"\0"], ["", bytearray(b"")]),
        (
            DECIMAL,
            [Decimal("999.99"), Decimal("-0.01"), Decimal("1E+2"), Decimal("0E+3"), Decimal(0)],
            [
                Decimal("1000"),
                Decimal("0E+3000000"),
                Decimal("0.001"),
                Decimal("NaN"),
                Decimal("Infinity"),
                Decimal("1E+3"),
                1,
                "1",
            ],
        ),
        (MILLIS, [datetime(2026, 1, 1, tzinfo=UTC)], [datetime(2026, 1, 1), date(2026, 1, 1), 5]),
        (SHAPE, ["POINT"], ["point", "", 0]),
        ({"type": "int", "logicalType": "time-millis"}, [time(8, 30)], ["08:30", datetime(2026, 1, 1, tzinfo=UTC)]),
        ({"type": "fixed", "name": "Two", "size": 2}, [b"ab"], [b"a", b"abc", "ab"]),
        (
            {"type": "string", "logicalType": "uuid"},
            ["0190fb92-3a4c-70ad-97c0-2d20ed23b8a2"],
            ["0190FB92-3A4C-70AD-97C0-2D20ED23B8A2", "0190fb923a4c70ad97c02d20ed23b8a2", "x", 5],
        ),
        (TAGS, [{}, {"a": None, "b": [1]}], [{"a": [None]}, {"a": [1.5]}, {1: None}, {"\0": None}, [], "{}"]),
    ],
)
def test_each_type_has_its_range(avro_type: Any, right: list[Any], wrong: list[Any]) -> None:
    validator = Validator.of(contract_of(avro_type))
    for value in right:
        validator(person(extra=value))
    for value in wrong:
        assert fault(person(extra=value), validator).field == "extra"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"name": "王府", "here": {"x": 1.5}, "former": [{"x": 2}]}, None),
        ({"name": "王府", "former": []}, None),
        ({"name": "王府"}, "former: is missing and must not be"),
        ({"name": "王府", "former": [{"x": 2}, {}]}, "former: number 2: x: is missing and must not be"),
        ({"name": "王府", "former": [], "here": {"x": "王"}}, "here: x: must be a number, not str"),
        ({"name": "王府", "former": [], "王某": 1}, "has a field that is none of name, here, former"),
        (["王府"], "must be a record, not list"),
    ],
)
def test_what_stands_within_an_item_is_checked_and_told_by_its_path(place: Any, reason: str | None) -> None:
    validator = Validator.of(contract_of(PLACE))
    if reason is None:
        validator(person(extra=place))
    else:
        assert fault(person(extra=place), validator).reason == reason


def test_a_contract_that_names_an_unknown_check_or_type_does_not_compile() -> None:
    with pytest.raises(InvalidContract):
        Validator.of(contract_of("string", check="no-such-check"))
    with pytest.raises(InvalidContract):
        Validator.of(contract_of({"type": "array", "items": {"type": "int", "logicalType": "days"}}))
