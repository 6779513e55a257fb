"""What is written for an event: key, wire format, limits, ids."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO
from uuid import UUID

import pytest
from fastavro import parse_schema, schemaless_reader
from hypothesis import given
from hypothesis import strategies as st

from bianhe.producers.publisher import VALUE_BYTES_MAX, Event, EventIds, Writer, uuid7
from bianhe.producers.validation import InvalidEvent
from bianhe.schemas import wire
from bianhe.schemas.contract import Contract, shipped
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import open_view
from bianhe.schemas.walk import RANGES
from support.rows import LEGAL_ENTITY, POPULATION, SECRET, number, person

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
TODAY = NOW.date()
KAIFENG = timezone(timedelta(hours=8))
LATEST = RANGES["timestamp-millis"][1]
EVENT = Event(uuid7(1, bytes(10)), "CHANGED", NOW)
WRITER = Writer.of(POPULATION, 1234, SECRET)


def test_an_event_is_the_contracts_avro_under_its_schema_id() -> None:
    record = WRITER.event(person(death_date=date(2026, 11, 20)), EVENT._replace(case="Y-2026-0001"), TODAY)
    assert record.value is not None
    schema_id, body = wire.unframe(record.value)
    assert schema_id == 1234
    fields = schemaless_reader(BytesIO(body), parse_schema(dict(POPULATION.schema)), None)
    assert isinstance(fields, dict)
    expected = dict.fromkeys(POPULATION.by_name) | person(death_date=date(2026, 11, 20))
    assert fields == {
        "event_id": EVENT.id,
        "event_kind": "CHANGED",
        "event_time": NOW,
        "event_case": "Y-2026-0001",
        **expected,
    }


def test_event_and_removal_of_one_entity_have_one_key() -> None:
    key = WRITER.event(person(), EVENT, TODAY).key
    for natural in (number(), {"citizen_id": number()}, {"citizen_id": number(), "name": ""}):
        assert WRITER.removal(natural, TODAY) == (key, None)
    assert number() not in key


def test_a_removal_of_no_valid_entity_is_refused() -> None:
    with pytest.raises(InvalidEvent):
        WRITER.removal("410202", TODAY)
    with pytest.raises(InvalidEvent):
        WRITER.removal({"name": "王某"}, TODAY)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (EVENT._replace(kind="REMOVED"), "event_kind"),
        (EVENT._replace(time=datetime(2026, 1, 1)), "event_time"),
        (EVENT._replace(time=datetime(1, 1, 1, tzinfo=KAIFENG)), "event_time"),
        (EVENT._replace(time=datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-8)))), "event_time"),
        (EVENT._replace(time=None, id=uuid7(LATEST + 1, bytes(10))), "event_id"),
        (EVENT._replace(time=None, id=uuid7(LATEST + 1, bytes(10)), case="Y-2026-0001"), "event_id"),
        (EVENT._replace(time=None, id="ffffffff-ffff-7000-8000-000000000000"), "event_id"),
        (EVENT._replace(case=""), "event_case"),
        (EVENT._replace(case="x" * 65), "event_case"),
        (EVENT._replace(id="1"), "event_id"),
        (EVENT._replace(id="5f0c6a1e-7c3b-4d5e-8a9b-0c1d2e3f4a5b"), "event_id"),
        (EVENT._replace(id=EVENT.id.replace("-", "")), "event_id"),
    ],
)
def test_wrong_event_fields_are_refused(event: Event, field: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        WRITER.event(person(), event, TODAY)
    assert raised.value.field == field


@pytest.mark.parametrize(
    "event",
    [
        EVENT._replace(time=datetime(1, 1, 1, 8, tzinfo=KAIFENG)),
        EVENT._replace(time=datetime.max.replace(tzinfo=UTC)),
        EVENT._replace(time=None, id=uuid7(LATEST, b"\xff" * 10)),
        EVENT._replace(id=uuid7(LATEST + 1, bytes(10))),
    ],
)
def test_the_router_takes_the_first_and_the_last_time_of_an_event(event: Event) -> None:
    value = WRITER.event(person(), event, TODAY).value
    assert value is not None
    Slicer(POPULATION, [(open_view(POPULATION), None)]).slice(wire.unframe(value)[1])


def test_b24_an_event_above_one_megabyte_is_refused() -> None:
    geospatial = Contract.parse(shipped("geospatial", 1).replace('"length": 65536', '"length": 2000000'))
    writer = Writer.of(geospatial, 1, None)
    feature = {
        "feature_id": "DL-1",
        "feature_class": "1",
        "name": "示例",
        "division": "410202",
        "status": "1",
        "geometry_type": "POINT",
        "srid": 4490,
        "surveyed_on": TODAY,
    }
    assert writer.event({**feature, "geometry": bytes(VALUE_BYTES_MAX - 200)}, EVENT, TODAY).value
    with pytest.raises(InvalidEvent, match="at most 1000000"):
        writer.event({**feature, "geometry": bytes(VALUE_BYTES_MAX)}, EVENT, TODAY)


def test_a_natural_key_needs_no_secret() -> None:
    assert Writer.of(LEGAL_ENTITY, 1, None).topic == "source.legal-entity.v1"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_begins_with_its_time(millis: int, randomness: bytes) -> None:
    drawn = uuid7(millis, randomness)
    assert EventIds(lambda count: (randomness * count)[:count]).new(millis) == drawn
    made = UUID(drawn)
    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", millis)
