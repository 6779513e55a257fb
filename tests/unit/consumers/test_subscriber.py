"""A subscriber reads what is addressed to it, and finds every gap, double and wrong address (law 3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from bianhe.consumers.subscriber import (
    COMPACTION_LAG_MILLIS,
    Delivery,
    DeliveryDoubled,
    DeliveryLost,
    Event,
    Last,
    Misaddressed,
    NothingGranted,
    Reader,
    Sequence,
    UnreadableDelivery,
    topics_to_read,
)
from bianhe.schemas import wire
from bianhe.schemas.view import open_view
from support.rows import POPULATION, person

OPEN = "open.population.v1.r1"
MAILBOX = "grant.renshe.population.v1.g-2026-0001"
SCHEMA = open_view(POPULATION).schema()
READER = Reader("renshe", lambda schema_id: json.dumps(SCHEMA))
NOW = 1_800_000_000_000
TIME = datetime(2026, 11, 22, tzinfo=UTC)


def delivery(value: bytes | None, topic: str = OPEN, headers: dict[str, bytes] | None = None) -> Delivery:
    return Delivery(topic, 0, 7, NOW, b"key", value, headers or {})


def value(**fields: Any) -> bytes:
    out = BytesIO()
    head = {"bus_offset": 5, "bus_seq": 3, "bus_policy": 12, "event_id": "i", "event_kind": "CHANGED"}
    schemaless_writer(out, parse_schema(SCHEMA), head | {"event_time": TIME, "event_case": None} | person() | fields)
    return wire.frame(9, out.getvalue())


def event(seq: int, offset: int | None = None) -> Event:
    place = seq + 100 if offset is None else offset
    return Event("population", "key", "CHANGED", {}, "i", TIME, None, 0, seq, 1, OPEN, 0, place)


def test_an_event_has_the_items_apart_from_what_the_bus_adds() -> None:
    found = READER.event(delivery(value()))
    assert (found.resource, found.key, found.kind, found.removed) == ("population", "key", "CHANGED", False)
    assert (found.source_offset, found.seq, found.policy, found.offset) == (5, 3, 12, 7)
    assert (found.id, found.time, found.case) == ("i", TIME, None)
    assert found.items == person()


@pytest.mark.parametrize("kind", ["removed", "retracted", "erased"])
def test_a_null_says_in_its_header_why_the_entity_is_gone(kind: str) -> None:
    headers = {"bus_kind": kind.encode(), "bus_offset": b"5", "bus_seq": b"3", "bus_policy": b"12"}
    found = READER.event(delivery(None, MAILBOX, headers))
    assert found.removed
    assert (found.kind, found.retracted, found.erased) == (kind.upper(), kind == "retracted", kind == "erased")
    assert (found.items, found.id, found.time) == ({}, None, None)
    assert (found.source_offset, found.seq, found.policy) == (5, 3, 12)


@pytest.mark.parametrize(
    "content", [b"", b"\1\0\0\0\1", value()[:-1], value() + b"\0", None, value()[:5] + b"\x01" * 9]
)
def test_what_is_no_delivery_is_never_taken_for_one(content: bytes | None) -> None:
    with pytest.raises(UnreadableDelivery):
        READER.event(delivery(content))


@pytest.mark.parametrize("topic", ["grant.tongji.population.v1.g-2026-0002", "source.population.v1", "bus.policy"])
def test_a_record_for_someone_else_stops_the_subscriber(topic: str) -> None:
    with pytest.raises(Misaddressed):
        READER.event(delivery(value(), topic))


def test_the_topics_to_read_are_the_deliveries_one_can_see() -> None:
    other = "open.licence.v1.r2"
    visible = frozenset({OPEN, MAILBOX, other, "source.population.v1", "foreign"})
    assert topics_to_read(visible, "renshe", None) == {OPEN, MAILBOX, other}
    assert topics_to_read(visible, "renshe", frozenset({"population"})) == {OPEN, MAILBOX}
    with pytest.raises(NothingGranted, match="geospatial"):
        topics_to_read(visible, "renshe", frozenset({"population", "geospatial"}))
    with pytest.raises(NothingGranted):
        topics_to_read(frozenset({"source.population.v1"}), "renshe", None)
    with pytest.raises(Misaddressed):
        topics_to_read(visible, "tongji", None)


@given(st.integers(1, 30), st.integers(1, 60), st.sampled_from(["lost", "doubled", "swapped", "right"]), st.data())
def test_any_record_lost_doubled_or_swapped_is_found(first: int, count: int, what: str, data: st.DataObject) -> None:
    numbers = list(range(first, first + count + 2))
    place = data.draw(st.integers(1, count))
    if what == "lost":
        del numbers[place]
    elif what == "doubled":
        numbers.insert(data.draw(st.integers(place + 1, len(numbers))), numbers[place])
    elif what == "swapped":
        numbers[place], numbers[place + 1] = numbers[place + 1], numbers[place]
    sequence = Sequence()
    found = []
    for seq in numbers:
        try:
            sequence.check(event(seq), NOW, NOW)
        except (DeliveryLost, DeliveryDoubled) as error:
            found.append(type(error))
            break
    expected = {"right": [], "lost": [DeliveryLost], "doubled": [DeliveryDoubled], "swapped": [DeliveryLost]}
    assert found == expected[what]


def test_the_first_record_of_all_has_number_one() -> None:
    Sequence().check(event(1, offset=0), NOW, NOW)
    Sequence().check(event(41, offset=60), NOW, NOW)
    with pytest.raises(DeliveryLost):
        Sequence().check(event(2, offset=0), NOW, NOW)


def test_a_gap_older_than_the_compaction_lag_is_unknown_and_not_lost() -> None:
    old, young = NOW - COMPACTION_LAG_MILLIS, NOW - COMPACTION_LAG_MILLIS + 1
    for append_millis, lost in ((old, False), (young, True)):
        sequence = Sequence()
        sequence.check(event(5), append_millis, NOW)
        if lost:
            with pytest.raises(DeliveryLost):
                sequence.check(event(9), NOW, NOW)
        else:
            sequence.check(event(9), NOW, NOW)


def test_a_committed_position_carries_the_sequence_over_a_restart() -> None:
    before, after = Sequence(), Sequence()
    before.check(event(5), NOW, NOW)
    after.start((OPEN, 0), Last.parse(str(before.last((OPEN, 0)))))
    with pytest.raises(DeliveryLost, match="number 6 is missing"):
        after.check(event(7), NOW, NOW)
    after.check(event(6), NOW, NOW)


@pytest.mark.parametrize("text", [None, "", "x y", "5", "5 6 7", "-5 6"])
def test_the_metadata_of_another_client_is_no_sequence(text: str | None) -> None:
    assert Last.parse(text) is None
