"""The demo's recount against histories small enough to work out by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bianhe.infra.demo.recount import (
    Answer,
    Recount,
    Tally,
    Unrecountable,
    answers,
    differences,
    partition_of,
)

KEYS = Path(__file__).parents[2] / "vectors" / "keys" / "hmac.json"
OPEN = "open.person.v1.r1"
TIME = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
RESOURCE = {
    "code": "person",
    "version": 1,
    "partitions": 1,
    "items": [
        {"name": "code", "sharing": "unconditional"},
        {"name": "name", "sharing": "unconditional"},
        {"name": "born", "sharing": "conditional"},
        {"name": "division", "sharing": "conditional"},
    ],
}
CONTRACT = {
    "key": {"items": ["code"], "derivation": "natural"},
    "fields": [
        *({"name": name, "type": "string"} for name in ("event_id", "event_kind", "event_time", "event_case")),
        {"name": "code", "type": "string"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "born", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "division", "type": "string"},
    ],
}


@dataclass
class Arrival:
    """A delivered event as a subscriber sees it."""

    seq: int
    source_offset: int
    key: str
    kind: str
    items: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    time: datetime | None = None
    case: str | None = None
    partition: int = 0


def row(number: int, kind: str, code: str, name: str = "", born: str = "", division: str = "410202") -> dict[str, str]:
    """A row of an input file; its event id is its number."""
    return {
        "event_id": str(number),
        "event_kind": kind,
        "event_time": (TIME + timedelta(seconds=number)).isoformat(),
        "event_case": "",
        "code": code,
        "name": name,
        "born": born,
        "division": division,
    }


def arrival(seq: int, offset: int, key: str, kind: str, **items: Any) -> Arrival:
    return Arrival(seq, offset, key, kind, items, str(offset), TIME + timedelta(seconds=offset))


def null(seq: int, offset: int, key: str, kind: str) -> Arrival:
    return Arrival(seq, offset, key, kind)


def received(*events: Arrival) -> Tally:
    tally = Tally()
    for event in events:
        tally.receive(event)
    return tally


HISTORY = [
    row(0, "CREATED", "A1", "王一", "1990-02-03", "410212"),
    row(1, "CREATED", "B2", "李二三", "", "410202"),
    row(2, "CHANGED", "A1", "王一", "1990-02-03", "410202"),
    row(3, "CHANGED", "A1", "王一", "1990-02-03", "410212"),
    row(4, "REMOVED", "B2"),
    row(5, "REMOVED", "A1"),
]


def recounted(*answered: Answer, partitions: int = 1) -> Recount:
    recount = Recount({**RESOURCE, "partitions": partitions}, CONTRACT, answered)
    for one in HISTORY:
        recount.take(one)
    return recount


OPEN_ARRIVALS = [
    arrival(1, 0, "A1", "CREATED", code="A1", name="王一"),
    arrival(2, 1, "B2", "CREATED", code="B2", name="李二三"),
    arrival(3, 2, "A1", "CHANGED", code="A1", name="王一"),
    arrival(4, 3, "A1", "CHANGED", code="A1", name="王一"),
    null(5, 4, "B2", "REMOVED"),
    null(6, 5, "A1", "REMOVED"),
]


def test_the_open_channel_holds_every_event_with_the_unconditional_items() -> None:
    recount = recounted(Answer("G-2026-0001", "tax", "person", ("name", "code")))
    assert recount.topic_of == {"G-2026-0001": OPEN}
    assert differences("tax", recount.topics[OPEN], received(*OPEN_ARRIVALS)) == []
    assert recount.topics[OPEN].kept_back == 0


def test_a_row_rule_keeps_back_retracts_and_removes_only_what_is_in() -> None:
    recount = recounted(Answer("G-2026-0002", "xiangfu", "person", ("code",), (), "division prefix 410212"))
    topic = "grant.xiangfu.person.v1.g-2026-0002"
    wanted = [
        arrival(1, 0, "A1", "CREATED", code="A1"),
        null(2, 2, "A1", "RETRACTED"),
        arrival(3, 3, "A1", "CHANGED", code="A1"),
        null(4, 5, "A1", "REMOVED"),
    ]
    assert differences("xiangfu", recount.topics[topic], received(*wanted)) == []
    # B2 was never in: its creation and its removal are kept back, as is the change that retracted A1.
    assert recount.topics[topic].kept_back == 3


def test_masks_change_what_is_there_and_leave_null_what_is_null() -> None:
    masks = ("name=first:1", "born=year", "division=constant:不提供", "code=null")
    recount = recounted(Answer("G-2026-0003", "tongji", "person", ("division", "name", "born", "code"), masks))
    shown: dict[str, Any] = {"code": None, "name": "王", "born": 1990, "division": "不提供"}
    wanted = [
        arrival(1, 0, "A1", "CREATED", **shown),
        arrival(2, 1, "B2", "CREATED", **{**shown, "name": "李", "born": None}),
        arrival(3, 2, "A1", "CHANGED", **shown),
        arrival(4, 3, "A1", "CHANGED", **shown),
        null(5, 4, "B2", "REMOVED"),
        null(6, 5, "A1", "REMOVED"),
    ]
    topic = "grant.tongji.person.v1.g-2026-0003"
    assert differences("tongji", recount.topics[topic], received(*wanted)) == []


def test_an_unmasked_date_is_the_day_that_the_file_names() -> None:
    recount = recounted(Answer("G-2026-0004", "renshe", "person", ("born",)))
    tally = Tally()
    for event in OPEN_ARRIVALS:
        born = None if event.key == "B2" else date(1990, 2, 3)
        tally.receive(event if event.kind == "REMOVED" else replace(event, items={"born": born}))
    assert differences("renshe", recount.topics["grant.renshe.person.v1.g-2026-0004"], tally) == []


def test_pseudonyms_differ_between_grants_and_are_equal_within_one() -> None:
    masks = ("code=pseudonym",)
    first = Answer("G-2026-0005", "jiaoyu", "person", ("code",), masks)
    recount = recounted(first, replace(first, grant="G-2026-0006"))
    digests = {tally.digests[0] for topic, tally in recount.topics.items() if topic != OPEN}
    assert len(digests) == 2
    assert recounted(first).topics["grant.jiaoyu.person.v1.g-2026-0005"].digests[0] in digests


TAMPERED = {
    "one is missing": [*OPEN_ARRIVALS[:2], *OPEN_ARRIVALS[3:]],
    "the last is missing": OPEN_ARRIVALS[:-1],
    "one is doubled": [*OPEN_ARRIVALS, OPEN_ARRIVALS[5]],
    "two are exchanged": [*OPEN_ARRIVALS[:2], OPEN_ARRIVALS[3], OPEN_ARRIVALS[2], *OPEN_ARRIVALS[4:]],
    "a value is wrong": [replace(OPEN_ARRIVALS[0], items={"code": "A1", "name": "王二"}), *OPEN_ARRIVALS[1:]],
    "an item is too many": [
        replace(OPEN_ARRIVALS[0], items={**OPEN_ARRIVALS[0].items, "born": None}),
        *OPEN_ARRIVALS[1:],
    ],
    "a null is empty text": [replace(OPEN_ARRIVALS[0], items={"code": "A1", "name": ""}), *OPEN_ARRIVALS[1:]],
    "a number skips": [*OPEN_ARRIVALS[:5], replace(OPEN_ARRIVALS[5], seq=7)],
    "an offset is another": [*OPEN_ARRIVALS[:5], replace(OPEN_ARRIVALS[5], source_offset=6)],
    "a removal is a retraction": [*OPEN_ARRIVALS[:5], replace(OPEN_ARRIVALS[5], kind="RETRACTED")],
    "a time is another": [replace(OPEN_ARRIVALS[0], time=TIME + timedelta(milliseconds=1)), *OPEN_ARRIVALS[1:]],
    "it came in another partition": [*OPEN_ARRIVALS[:5], replace(OPEN_ARRIVALS[5], partition=1)],
}


@pytest.mark.parametrize("events", TAMPERED.values(), ids=TAMPERED)
def test_a_single_wrong_missing_or_extra_record_is_found(events: list[Arrival]) -> None:
    assert differences("tax", recounted().topics[OPEN], received(*events))


def test_a_revoked_topic_is_recounted_up_to_where_it_ended() -> None:
    recount = Recount(RESOURCE, CONTRACT, [])
    for number, one in enumerate(HISTORY):
        if number == 3:
            recount.end(OPEN, {0: 4})
        recount.take(one)
    assert differences("tax", recount.topics[OPEN], received(*OPEN_ARRIVALS[:4])) == []


def test_the_order_between_partitions_does_not_matter() -> None:
    recount = recounted(partitions=4)
    seqs: dict[int, int] = {}
    events = []
    for event in OPEN_ARRIVALS:
        partition = partition_of(event.key, 4)
        seqs[partition] = seqs.get(partition, 0) + 1
        events.append(replace(event, seq=seqs[partition], source_offset=seqs[partition] - 1, partition=partition))
    assert len(seqs) == 2
    by_partition = sorted(events, key=lambda event: event.partition)
    for order in (events, by_partition):
        assert differences("tax", recount.topics[OPEN], received(*order)) == []


@pytest.mark.parametrize("vector", json.loads(KEYS.read_text(encoding="utf-8")), ids=lambda vector: vector["case"])
def test_derived_keys_are_those_of_the_published_vectors(vector: dict[str, Any]) -> None:
    names = [f"part{number}" for number in range(len(vector["parts"]))]
    contract = {"key": {"items": names, "derivation": "hmac"}, "fields": []}
    recount = Recount(RESOURCE | {"items": []}, contract, [], bytes.fromhex(vector["secret"]))
    assert recount.key(dict(zip(names, vector["parts"], strict=True))) == vector["key"]


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # Vectors of Kafka's own UtilsTest.
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_a_key_lies_where_java_puts_it(key: str, murmur2: int) -> None:
    for partitions in (1, 3, 4, 16, 0x7FFFFFFF):
        assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


def test_answers_join_the_rule_asked_for_with_the_one_decided() -> None:
    sharing = {
        "application": [
            {"department": "a", "resource": "person", "items": "unconditional", "also": ["born"]},
            {"department": "b", "resource": "person", "items": ["code"], "decision": {"agree": False}},
            {"department": "c", "resource": "person", "items": ["code"], "withheld": True},
            {
                "department": "d",
                "resource": "person",
                "items": ["code"],
                "where": "name in x,y",
                "decision": {"agree": True, "masks": ["code=null"], "where": "division = 410202"},
            },
        ]
    }
    found = answers(sharing, {"resource": [RESOURCE]}, [("G-1", "a", "person"), ("G-2", "d", "person")])
    assert found == [
        Answer("G-1", "a", "person", ("code", "name", "born")),
        Answer("G-2", "d", "person", ("code",), ("code=null",), "name in x,y and division = 410202"),
    ]
    with pytest.raises(Unrecountable):
        answers(sharing, {"resource": [RESOURCE]}, [("G-1", "d", "person"), ("G-2", "a", "person")])


def test_what_is_not_understood_is_not_counted() -> None:
    recount = Recount(RESOURCE, CONTRACT, [Answer("G-1", "a", "person", ("code",), ("code=scramble",))])
    with pytest.raises(Unrecountable):
        recount.take(HISTORY[0])
    with pytest.raises(Unrecountable):
        Recount(RESOURCE, CONTRACT, [Answer("G-1", "a", "person", ("code",), (), "division like 41%")])
    with pytest.raises(Unrecountable):
        Recount(RESOURCE, CONTRACT, [Answer("G-1", "a", "person", ("shoe_size",))])
    with pytest.raises(Unrecountable):
        Recount(RESOURCE, CONTRACT | {"key": {"items": ["code"], "derivation": "hmac"}}, [])
