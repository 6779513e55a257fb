"""The state machine of an application: pure, total, and never wider than what was asked."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.catalog.entry import Catalog
from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.sharing import application as rules
from bianhe.registry.sharing.application import (
    AlreadyDecided,
    InvalidApplication,
    InvalidDecision,
    Request,
    State,
    narrows,
)
from bianhe.registry.sharing.compile import compile_grant
from bianhe.schemas.contract import Sharing
from bianhe.schemas.grant import TERM_MAX, Condition, Grant, Mask, MaskKind, Operator, parse_row_rule
from bianhe.schemas.view import reads_open_channel
from support.registry import CATALOG, NOW, POPULATION, request

OPEN = "open.population.v1.r1"
ITEMS = [item.name for item in POPULATION.items]
STRINGS = [item.name for item in POPULATION.items if item.kind == "string"]

item_sets = st.lists(st.sampled_from(ITEMS), min_size=1, unique=True).map(tuple)
conditions = st.builds(
    Condition,
    item=st.sampled_from(STRINGS),
    operator=st.sampled_from([Operator.EQUALS, Operator.PREFIX]),
    values=st.just(("410212",)),
)
row_rules = st.lists(conditions, max_size=3, unique=True).map(tuple)
masks = st.lists(st.sampled_from(ITEMS), max_size=3, unique=True).map(
    lambda names: tuple(Mask(item=name, kind=MaskKind.NULL) for name in names)
)


def _submitted(asked: Request) -> rules.Application:
    return rules.submit(asked, CATALOG, POPULATION, "A-2026-0001", NOW)


@given(item_sets, row_rules, masks, row_rules)
def test_a_grant_is_never_wider_than_its_application(
    items: tuple[str, ...], asked: tuple[Condition, ...], mask: tuple[Mask, ...], decided: tuple[Condition, ...]
) -> None:
    application = _submitted(request(items=items, row_rule=asked))
    try:
        grant = rules.agree(application, mask, decided, POPULATION, "G-2026-0001")
    except InvalidDecision:
        masked = {mask.item for mask in mask}
        assert not masked <= set(items) or masked & {condition.item for condition in (*asked, *decided)}
        return
    assert set(grant.items) == set(items)
    assert set(asked) <= set(grant.row_rule)
    assert {mask.item for mask in grant.masks} <= set(items)
    assert {condition.item for condition in grant.row_rule}.isdisjoint(mask.item for mask in grant.masks)


@given(item_sets, row_rules, masks)
def test_only_the_whole_open_view_reads_the_open_channel(
    items: tuple[str, ...], row_rule: tuple[Condition, ...], mask: tuple[Mask, ...]
) -> None:
    application = _submitted(request(items=items, row_rule=row_rule))
    try:
        grant = rules.agree(application, mask, (), POPULATION, "G-2026-0001")
    except InvalidDecision:
        return
    delivery = compile_grant(grant, POPULATION, OPEN)
    whole = set(items) == set(POPULATION.unconditional) and not row_rule and not mask
    assert (delivery.topic == OPEN) == whole == reads_open_channel(delivery.view)
    assert compile_grant(grant, POPULATION, None).topic == "grant.renshe.population.v1.g-2026-0001"


@given(item_sets)
def test_conditional_items_give_ten_working_days_and_unconditional_ones_one(items: tuple[str, ...]) -> None:
    waiting = rules.with_due_date(_submitted(request(items=items)), POPULATION, Calendar())
    conditional = any(POPULATION.by_name[name].sharing is Sharing.CONDITIONAL for name in items)
    assert waiting.due == (date(2026, 12, 7) if conditional else date(2026, 11, 24))
    assert waiting.due_provisional
    assert rules.unconditional(waiting.request, POPULATION) != conditional


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_an_application_has_one_answer(answers: list[bool]) -> None:
    application = _submitted(request())
    for number, agreed in enumerate(answers):
        try:
            if agreed:
                grant = rules.agree(application, (), (), POPULATION, f"G-2026-000{number}")
                application = rules.granted(application, grant, "gongan", NOW)
            else:
                application = rules.refused(application, "与职责无关", "gongan", NOW)
        except AlreadyDecided:
            assert number > 0
    assert (application.state is State.GRANTED) == answers[0]
    assert (application.grant is not None) == answers[0]
    assert application.due is None


@given(st.integers(-400, 400))
def test_a_term_may_end_today_in_the_city_but_not_before(days: int) -> None:
    until = date(2026, 11, 23) + timedelta(days=days)
    if days >= 0:
        assert _submitted(request(until=until)).request.until == until
        return
    with pytest.raises(InvalidApplication) as refused:
        _submitted(request(until=until))
    assert [fault.place for fault in refused.value.faults] == ["until"]


def test_a_term_that_the_calendar_cannot_follow_is_neither_taken_nor_granted() -> None:
    application = _submitted(request(until=TERM_MAX))
    late = application.request.model_copy(update={"until": TERM_MAX + timedelta(days=1)})
    with pytest.raises(InvalidApplication, match="1 fault") as refused:
        _submitted(late)
    assert [fault.place for fault in refused.value.faults] == ["until"]
    with pytest.raises(InvalidDecision) as undecided:
        rules.agree(application.model_copy(update={"request": late}), (), (), POPULATION, "G-2026-0001")
    assert "is after 9998-12-31" in undecided.value.cause


def test_all_that_is_missing_is_said_at_once() -> None:
    empty = request(
        items=("shoe_size",), purpose="", basis="", scenario=" ", scope="", declared=False, until=date(2020, 1, 1)
    )
    with pytest.raises(InvalidApplication) as refused:
        _submitted(empty)
    assert [fault.place for fault in refused.value.faults] == [
        "basis",
        "scenario",
        "scope",
        "purpose",
        "until",
        "declaration",
        "shoe_size",
    ]
    assert all(fault.cure in refused.value.cure for fault in refused.value.faults)


def test_an_item_goes_to_the_departments_of_its_scope_only() -> None:
    document = CATALOG.model_dump(mode="json", by_alias=True)
    items = next(resource["items"] for resource in document["resource"] if resource["code"] == "population")
    next(item for item in items if item["name"] == "ethnic_group")["scope"] = ["minzheng"]
    narrowed = Catalog.model_validate(document)
    asked = request(items=("ethnic_group",))
    with pytest.raises(InvalidApplication) as refused:
        rules.submit(asked, narrowed, POPULATION, "A-2026-0001", NOW)
    assert [fault.rule for fault in refused.value.faults] == ["809 第十五条"]
    allowed = asked.model_copy(update={"department": "minzheng"})
    assert rules.submit(allowed, narrowed, POPULATION, "A-2026-0001", NOW).state is State.SUBMITTED


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, False),
        ({}, {"items": ("a", "b", "c")}, False),
        ({}, {"items": ("a",)}, True),
        ({}, {"masks": (Mask.parse("a=null"),)}, True),
        ({"masks": (Mask.parse("a=null"),)}, {}, False),
        ({"masks": (Mask.parse("a=first:2"),)}, {"masks": (Mask.parse("a=first:1"),)}, True),
        ({}, {"row_rule": parse_row_rule("d = 1")}, True),
        ({"row_rule": parse_row_rule("d = 1")}, {}, False),
        ({"row_rule": parse_row_rule("d = 1")}, {"row_rule": parse_row_rule("d = 2")}, True),
        ({}, {"items": ("a", "b", "c"), "masks": (Mask.parse("c=null"),)}, False),
    ],
)
def test_a_grant_narrows_where_it_keeps_back_or_masks_what_the_one_before_let_through(
    before: dict[str, Any], after: dict[str, Any], expected: bool
) -> None:
    words: dict[str, Any] = {name: "x" for name in ("department", "resource", "purpose", "basis", "scenario", "scope")}
    one = Grant(number="G-2026-0001", version=1, items=("a", "b"), until=date(2027, 12, 31), **words)
    assert narrows(one.model_copy(update=before), one.model_copy(update=after)) is expected
