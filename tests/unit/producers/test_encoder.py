"""The quick way of the publisher takes what the slow one takes, byte for byte, and refuses nothing of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bianhe.producers.encoder import in_python, table
from bianhe.producers.publisher import Event, Writer, uuid7
from bianhe.producers.validation import InvalidEvent
from bianhe.schemas import code_tables
from bianhe.schemas.contract import EVENT_KINDS, Contract, Item, shipped
from bianhe.schemas.identifiers import citizen_id, licence_id, uscc
from support.avro_records import contract_of
from support.rows import SECRET, UNIT, number

RESOURCES = ("population", "legal-entity", "geospatial", "licence")
ID = uuid7(1_795_000_000_000, bytes(10))
TODAY = date(2026, 11, 28)
LATE_ID = uuid7((1 << 48) - 1, bytes(10))
KAIFENG = timezone(timedelta(hours=8))
TIMES = [
    None,
    datetime(2026, 11, 28, 9, 0, 0, 123_999, UTC),
    *(datetime(1, 1, 1, tzinfo=zone) for zone in (UTC, KAIFENG)),
]
IDENTIFIERS = {
    "citizen-id": [number(), citizen_id.make("410202", date(1990, 2, 28), 17)],
    "uscc": [UNIT, uscc.make("91", "410200", "MA000001")],
    "licence-id": [licence_id.make("12345678901234567890X", UNIT, "00001")],
}
STRANGE: list[Any] = [
    "",
    "x" * 600,
    "王\0",
    "\ud800",
    "410202195001010018",
    5,
    -1,
    1 << 70,
    True,
    b"\0",
    0.5,
    object(),
    [],
]
STRANGE += [float("nan"), -0.0, Decimal("1.000000"), Decimal("NaN"), date(2026, 2, 28), datetime(2026, 2, 28), None]


@cache
def writer(resource: str) -> Writer:
    return Writer.of(Contract.parse(shipped(resource, 1)), 100, SECRET)


@cache
def in_python_alone(resource: str) -> Writer:
    """As it is where no compiler was."""
    compiled = writer(resource)
    return replace(compiled, encode=in_python(table(compiled.contract, compiled.validate)))


def usual(item: Item) -> st.SearchStrategy[Any]:
    """Values that a contract mostly takes."""
    if item.codes:
        return st.sampled_from(sorted(code_tables.table(item.codes)))
    if item.check:
        return st.sampled_from(IDENTIFIERS[item.check])
    match item.kind:
        case "string":
            return st.text(st.characters(codec="utf-8"), max_size=item.length or 20)
        case "date":
            return st.dates()
        case "decimal":
            return st.decimals(-10_000, 10_000, places=int(item.value_type.get("scale", 0)))
        case "int" | "long":
            return st.integers(-(1 << 31), (1 << 31) - 1)
        case "boolean":
            return st.booleans()
        case "enum":
            return st.sampled_from(item.value_type["symbols"])
        case "timestamp-millis" | "timestamp-micros":
            return st.datetimes(timezones=st.sampled_from([UTC, KAIFENG]))
        case "bytes":
            return st.binary(max_size=40)
    return st.floats(allow_nan=False)


@st.composite
def items(draw: st.DrawFn, resource: str) -> dict[str, Any]:
    found = {item.name: draw(usual(item)) for item in writer(resource).contract.items}
    for name in draw(st.lists(st.sampled_from([*found, "unknown"]), max_size=2)):
        if draw(st.booleans()):
            found[name] = draw(st.sampled_from(STRANGE))
        else:
            found.pop(name, None)
    return found


@pytest.mark.parametrize("resource", RESOURCES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_quick_way_writes_what_the_slow_one_writes_and_the_slow_one_refuses(
    resource: str, data: st.DataObject
) -> None:
    event = Event(
        data.draw(st.sampled_from([ID, ID.upper(), LATE_ID, "no-id"])),
        data.draw(st.sampled_from([*EVENT_KINDS, "REMOVED"])),
        data.draw(st.sampled_from(TIMES)),
        data.draw(st.sampled_from([None, "Y-2026-0001", ""])),
    )
    values = data.draw(items(resource))
    by_the_book = outcome(writer(resource)._event_by_the_book, values, event)
    assert outcome(writer(resource).event, values, event) == by_the_book
    assert outcome(in_python_alone(resource).event, values, event) == by_the_book


def outcome(write: Any, values: dict[str, Any], event: Event) -> Any:
    try:
        return write(values, event, TODAY)
    except InvalidEvent as fault:
        return fault.field, fault.reason, fault.shown


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("float", 1e300),
        ("double", 10**400),
        ({"type": "array", "items": "float"}, [10**400]),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, Decimal("0E+3000000")),
    ],
)
def test_a_number_beyond_its_type_is_refused_on_every_way(shape: Any, value: Any) -> None:
    compiled = Writer.of(contract_of({"key": "string", "number": shape}), 100, None)
    python = replace(compiled, encode=in_python(table(compiled.contract, compiled.validate)))
    for way in (compiled.event, python.event, compiled._event_by_the_book):
        with pytest.raises(InvalidEvent, match="number: "):
            way({"key": "k", "number": value}, Event(ID, "CHANGED"), TODAY)


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_usual_event_goes_the_quick_way(resource: str) -> None:
    values = {item.name: _some(item) for item in writer(resource).contract.items}
    for way in (writer(resource), in_python_alone(resource)):
        assert way.encode(b"", ID, b"\0", 0, values) is not None


def _some(item: Item) -> Any:
    if item.codes:
        return min(code_tables.table(item.codes))
    if item.check:
        return IDENTIFIERS[item.check][0]
    if item.kind == "enum":
        return item.value_type["symbols"][0]
    return {
        "string": "x",
        "date": TODAY,
        "decimal": Decimal(1),
        "boolean": True,
        "bytes": b"x",
        "double": 1.5,
        "timestamp-millis": datetime(2026, 11, 28, tzinfo=UTC),
    }.get(item.kind, 1)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, str]:
    """A citizen's number of any date, and an organisation's, of each perhaps one character another."""
    body = draw(st.from_regex(r"[0-9]{6}(18[45]|19[09]|20[02])[0-9][01][0-9][0-3][0-9][0-9]{3}", fullmatch=True))
    organisation = draw(st.text(uscc.ALPHABET, min_size=10, max_size=10))
    found = {
        "citizen_id": body + citizen_id._check(body),
        "source_unit": uscc.make(organisation[:2], body[:6], organisation[2:]),
    }
    for name, right in found.items():
        place, other = draw(st.integers(0, 17)), draw(st.sampled_from(right[17] * 20 + "0123456789XAZIé"))
        found[name] = right[:place] + (other if draw(st.booleans()) else right[place]) + right[place + 1 :]
    return found


@settings(max_examples=400, deadline=None)
@given(numbers())
def test_a_check_that_is_compiled_takes_what_the_one_that_explains_takes(numbers: dict[str, str]) -> None:
    sound = {item.name: _some(item) for item in writer("population").contract.items}
    right = citizen_id.fault(numbers["citizen_id"]) is None and uscc.fault(numbers["source_unit"]) is None
    for way in (writer("population"), in_python_alone("population")):
        assert (way.encode(b"", ID, b"\0", 0, sound | numbers) is not None) == right
