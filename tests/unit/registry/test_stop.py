"""One person stops, a second one answers within a working day."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

import pytest

from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.stops.stop import NoStop, in_force, lift, new_stop, ratify
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.policy import Target
from support.policies import AT, city, policy

FIRST, SECOND = "值班员", "分管领导"
CALENDAR = Calendar({date(2026, 10, 1): False})


def stopped(target: Target = Target.DEPARTMENT, code: str = "renshe") -> Policy:
    return policy(new_stop(city(), target, code, "口令泄露", FIRST), after=city())


@pytest.mark.parametrize(("target", "code"), [(Target.DEPARTMENT, "renshe"), (Target.RESOURCE, "population")])
def test_a_stop_stands_until_a_second_person_lifts_it(target: Target, code: str) -> None:
    after = stopped(target, code)
    assert after.is_stopped(target, code)
    ratified = policy(ratify(after, target, code, SECOND), after=after)
    assert ratified.is_stopped(target, code)
    assert [each.ratified for each in in_force(ratified, CALENDAR)] == [True]
    assert not policy(lift(ratified, target, code, SECOND, AT), after=ratified).stops


@pytest.mark.parametrize("by", [FIRST, "", f" {FIRST} "])
def test_who_stopped_does_not_answer_for_it(by: str) -> None:
    for answer in (ratify, partial(lift, at=AT)):
        with pytest.raises(NoStop, match="second person"):
            answer(stopped(), Target.DEPARTMENT, "renshe", by)


def test_what_is_not_there_or_stopped_already_or_without_reason_is_not_stopped() -> None:
    for target, code in ((Target.DEPARTMENT, "nobody"), (Target.RESOURCE, "renshe")):
        with pytest.raises(NoStop, match="there is no"):
            new_stop(city(), target, code, "口令泄露", FIRST)
    with pytest.raises(NoStop, match="already"):
        new_stop(stopped(), Target.DEPARTMENT, "renshe", "口令泄露", SECOND)
    with pytest.raises(NoStop, match="reason"):
        new_stop(city(), Target.DEPARTMENT, "renshe", " ", FIRST)
    with pytest.raises(NoStop, match="not stopped"):
        lift(city(), Target.DEPARTMENT, "renshe", SECOND, AT)


@pytest.mark.parametrize(("target", "code"), [(Target.DEPARTMENT, "tongji"), (Target.RESOURCE, "population")])
def test_a_mailbox_that_stood_still_longer_than_removals_are_kept_does_not_go_on(target: Target, code: str) -> None:
    after = stopped(target, code)
    late = after.stops[target, code].since.at + timedelta(days=91)
    with pytest.raises(NoStop, match="G-2026-0002") as refusal:
        lift(after, target, code, SECOND, late)
    assert "first load" in (refusal.value.cure or "")
    # Whoever has open channels only starts again from an empty table, as every reader that was away for so long.
    lift(stopped(), Target.DEPARTMENT, "renshe", SECOND, late)


def test_a_stop_is_answered_within_a_working_day() -> None:
    (stop,) = in_force(stopped(), CALENDAR)
    assert stop.stop.since.at.date() == date(2026, 11, 22)
    assert stop.due.day == date(2026, 11, 23)
    assert not stop.overdue(date(2026, 11, 23))
    assert stop.overdue(date(2026, 11, 24))
