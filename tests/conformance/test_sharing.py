"""Applications, decisions and grants: what is refused changes nothing, what is granted is on the outbox at once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert

from bianhe.infra.demo import sharing as demo
from bianhe.registry.accounts.sql import password_hash, set_password
from bianhe.registry.catalog.entry import NoCatalog
from bianhe.registry.catalog.sql import show
from bianhe.registry.clocks.sql import calendar_exception
from bianhe.registry.policy.sql import append, beyond, decided, learn, pending
from bianhe.registry.revocation import sql as decisions
from bianhe.registry.sharing import sql
from bianhe.registry.sharing.application import (
    STANDING_CONSENT,
    AlreadyDecided,
    InvalidApplication,
    InvalidDecision,
    State,
    Withheld,
)
from bianhe.registry.sharing.grant import NOT_CORRECTED, CannotChange, GrantRow, NotOverdue
from bianhe.registry.sharing.grounds import UnknownGround
from bianhe.registry.sql import transaction
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import Mask, parse_row_rule
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Department, Effective, Granted, Revoked
from support.policies import records
from support.policy_bodies import granted
from support.registry import NOW, SAMPLE, number_all, request, with_sample


def _waiting(database: Engine) -> int:
    with transaction(database) as connection:
        return len(pending(connection))


def _granted(database: Engine, **other: object) -> GrantRow:
    submitted = sql.submit(database, request(**other), NOW)
    return sql.agree(database, submitted.number, (), (), "gongan", NOW)


def test_a_conditional_application_waits_ten_working_days(city: Engine) -> None:
    submitted = sql.submit(city, request(), NOW)
    assert (submitted.number, submitted.state, submitted.due) == ("A-2026-0001", State.SUBMITTED, date(2026, 12, 7))
    assert sql.application(city, submitted.number) == submitted


def test_an_unconditional_application_is_granted_at_once_under_standing_consent(city: Engine) -> None:
    items = show(city).resource["population"].unconditional
    granted = sql.submit(city, request(items=items), NOW)
    assert (granted.state, granted.decided_by, granted.grant) == (State.GRANTED, STANDING_CONSENT, "G-2026-0001")
    assert sql.grant(city, "G-2026-0001").topic == "open.population.v1.r1"


def test_a_grant_stands_alike_in_outbox_row_and_letter(city: Engine) -> None:
    row = _granted(city)
    with transaction(city) as connection:
        [body] = decided(connection, Granted)
    assert (body.grant, body.digest, body.topic) == (row.grant, row.grant.digest, row.topic)
    assert row.digest == row.grant.digest
    assert row.grant.digest in sql.letter(city, row.grant.number)
    assert sql.letter(city, row.grant.number) == sql.letter(city, row.application)


def test_a_decision_adds_masks_and_narrows_the_row_rule(city: Engine) -> None:
    asked = parse_row_rule("residence_division prefix 4102")
    submitted = sql.submit(city, request(row_rule=asked), NOW)
    masks = (Mask.parse("citizen_id=first:6"),)
    row = sql.agree(city, submitted.number, masks, parse_row_rule("status = 1"), "gongan", NOW)
    assert row.grant.masks == masks
    assert row.grant.row_rule == (*asked, *parse_row_rule("status = 1"))
    assert row.topic == "grant.renshe.population.v1.g-2026-0001"


def test_numbers_have_no_gap_in_a_year_and_begin_anew_in_the_next(city: Engine) -> None:
    # Half past midnight of New Year in the city, still the old year in UTC.
    new_year = datetime(2026, 12, 31, 16, 30, tzinfo=UTC)
    numbers = [sql.submit(city, request(), at).number for at in (NOW, NOW, new_year)]
    with pytest.raises(InvalidApplication):
        sql.submit(city, request(basis=""), NOW)
    numbers.append(sql.submit(city, request(), NOW).number)
    assert numbers == ["A-2026-0001", "A-2026-0002", "A-2027-0001", "A-2026-0003"]


def test_a_restored_backup_gives_no_number_again_that_the_policy_log_knows(city: Engine) -> None:
    lost = granted().model_copy(update={"application": "A-2026-0007"})
    (record,) = records([lost])
    with transaction(city) as connection:
        learn(connection, [record.model_copy(update={"number": 999})])
    given = _granted(city)
    assert (given.application, given.grant.number) == ("A-2026-0008", "G-2026-0002")


def test_two_that_apply_at_once_get_two_numbers(city: Engine) -> None:
    numbers: list[str] = []
    threads = [Thread(target=lambda: numbers.append(sql.submit(city, request(), NOW).number)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [f"A-2026-000{n}" for n in range(1, 7)]


def test_an_application_is_decided_once(city: Engine) -> None:
    row = _granted(city)
    before = _waiting(city)
    with pytest.raises(AlreadyDecided):
        sql.agree(city, row.application, (), (), "gongan", NOW)
    with pytest.raises(AlreadyDecided):
        sql.refuse(city, row.application, "too late", "gongan", NOW)
    assert _waiting(city) == before


def test_a_refusal_keeps_its_reason_and_gives_no_grant(city: Engine) -> None:
    submitted = sql.submit(city, request(), NOW)
    with pytest.raises(InvalidDecision):
        sql.refuse(city, submitted.number, " ", "gongan", NOW)
    refused = sql.refuse(city, submitted.number, "与职责无关", "gongan", NOW)
    assert (refused.state, refused.reason, refused.grant) == (State.REFUSED, "与职责无关", None)
    letter = sql.letter(city, submitted.number)
    assert "与职责无关" in letter
    assert "第十五条" in letter
    assert sql.grants(city) == []


BAD: dict[str, tuple[dict[str, Any], type[Rejected]]] = {
    "b09 a withheld item": ({"items": ("name", "fingerprint")}, Withheld),
    "b10 a term in the past": ({"until": date(2026, 11, 22)}, InvalidApplication),
    "b11 an unknown item": ({"items": ("shoe_size",)}, InvalidApplication),
    "b13 no basis": ({"basis": "  "}, InvalidApplication),
    "no declaration": ({"declared": False}, InvalidApplication),
    "an unknown purpose": ({"purpose": "好奇"}, InvalidApplication),
    "an unknown department": ({"department": "nobody"}, InvalidApplication),
    "the provider itself": ({"department": "gongan"}, InvalidApplication),
    "an unknown resource": ({"resource": "weather"}, NoCatalog),
    "no items": ({"items": ()}, InvalidApplication),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_application_is_refused_and_changes_nothing(city: Engine, bad: str) -> None:
    changes, expected = BAD[bad]
    before = _waiting(city)
    with pytest.raises(expected) as refused:
        sql.submit(city, request(**changes), NOW)
    assert refused.value.cause or refused.value.cure
    assert (sql.applications(city), _waiting(city)) == ([], before)


def test_b12_a_row_rule_on_a_masked_item_is_refused_and_changes_nothing(city: Engine) -> None:
    submitted = sql.submit(city, request(), NOW)
    before = _waiting(city)
    masks, row_rule = (Mask.parse("citizen_id=null"),), parse_row_rule("citizen_id prefix 4102")
    with pytest.raises(InvalidDecision) as refused:
        sql.agree(city, submitted.number, masks, row_rule, "gongan", NOW)
    assert "condition-masked" in refused.value.cause
    assert (sql.application(city, submitted.number), _waiting(city)) == (submitted, before)


def test_a_withheld_refusal_says_basis_provider_and_authority(city: Engine) -> None:
    with pytest.raises(Withheld) as refused:
        sql.submit(city, request(items=("fingerprint",)), NOW)
    assert "居民身份证法 第三条、第六条(示例,待核)" in refused.value.cause
    assert "公安局" in refused.value.cure
    assert "政务服务和大数据管理局" in refused.value.cure


def test_a_revocation_needs_a_ground_and_is_decided_once(city: Engine) -> None:
    number = _granted(city).grant.number
    for ground in ("", "because"):
        with pytest.raises(UnknownGround):
            sql.revoke(city, number, ground, "gongan", NOW)
    assert sql.grant(city, number).state is GrantState.ACTIVE
    assert sql.revoke(city, number, "purpose-met", "gongan", NOW).state is GrantState.REVOKING
    assert sql.revoke(city, number, "term-ended", "gongan", NOW).ground == "purpose-met"
    with transaction(city) as connection:
        assert decided(connection, Revoked) == [Revoked(grant=number, ground="purpose-met", decided_by="gongan")]


def test_misuse_is_first_to_be_put_right(city: Engine) -> None:
    number = _granted(city).grant.number
    with pytest.raises(NotOverdue, match="not suspended"):
        sql.revoke(city, number, NOT_CORRECTED, "gongan", NOW)
    day = NOW.date() + timedelta(days=3)
    with pytest.raises(UnknownGround):
        decisions.suspend(city, number, "purpose-met", day, "gongan", NOW)
    suspended = decisions.suspend(city, number, "misuse", day, "gongan", NOW)
    assert (suspended.state, suspended.suspension and suspended.suspension.correct_by) == (GrantState.SUSPENDED, day)
    with pytest.raises(NotOverdue, match="until"):
        sql.revoke(city, number, NOT_CORRECTED, "gongan", NOW)
    ended = sql.revoke(city, number, NOT_CORRECTED, "gongan", NOW + timedelta(days=5))
    assert ended.state is GrantState.REVOKING
    with pytest.raises(decisions.CannotSuspend):
        decisions.suspend(city, number, "misuse", day, "gongan", NOW)
    with pytest.raises(decisions.CannotResume):
        decisions.resume(city, number, "gongan", NOW)


def test_a_suspended_grant_goes_on_unless_removals_may_be_forgotten(city: Engine) -> None:
    number = _granted(city).grant.number
    decisions.suspend(city, number, "misuse", NOW.date(), "gongan", NOW)
    with pytest.raises(decisions.CannotResume, match="stood still"):
        decisions.resume(city, number, "gongan", NOW + timedelta(days=91))
    assert decisions.resume(city, number, "gongan", NOW + timedelta(days=89)).state is GrantState.ACTIVE
    with pytest.raises(decisions.CannotResume, match="active"):
        decisions.resume(city, number, "gongan", NOW)


def test_a_term_ends_once(city: Engine) -> None:
    number = _granted(city).grant.number
    for _ in range(2):
        decisions.expire(city, number, NOW)
    with transaction(city) as connection:
        assert decided(connection, Revoked) == [Revoked(grant=number, ground="term-ended", decided_by="term")]


def test_a_disabled_department_stays_so_through_an_import_and_has_no_password(city: Engine) -> None:
    number = _granted(city).grant.number
    set_password(city, "renshe", SecretStr("secret"))
    assert [row.grant.number for row in decisions.disable(city, "renshe", "purpose-met", "security", NOW)] == [number]
    with_sample(city)
    with transaction(city) as connection:
        assert password_hash(connection, "renshe") is None
        assert [body.enabled for body in decided(connection, Department) if body.code == "renshe"] == [True, False]
    decisions.enable(city, "renshe", NOW)
    with transaction(city) as connection:
        assert decided(connection, Department)[-1].enabled
    assert sql.grant(city, number).state is GrantState.REVOKING


def test_a_grant_ends_when_its_effective_record_is_decided(city: Engine) -> None:
    number = _granted(city).grant.number
    sql.revoke(city, number, "purpose-met", "gongan", NOW)
    with transaction(city) as connection:
        append(connection, [Effective(grant=number, edge={"0": 5})], NOW)
    assert sql.grant(city, number).state is GrantState.EFFECTIVE
    assert [row.state for row in sql.grants(city)] == [GrantState.EFFECTIVE]


def test_a_grant_has_its_policy_number_once_the_relay_brought_it(city: Engine) -> None:
    number = _granted(city).grant.number
    assert sql.grant(city, number).policy is None
    last = number_all(city)
    assert sql.grant(city, number).policy == last


def test_a_provisional_limit_is_counted_again_when_the_year_is_known(city: Engine) -> None:
    submitted = sql.submit(city, request(), datetime(2026, 12, 25, 1, tzinfo=UTC))
    assert submitted.due_provisional
    assert submitted.due == date(2027, 1, 8)
    with transaction(city) as connection:
        holiday = {"day": date(2027, 1, 4), "working": False, "source": "an invented notice"}
        connection.execute(insert(calendar_exception).values(holiday))
        sql.recompute_deadlines(connection)
    counted_again = sql.application(city, submitted.number)
    assert (counted_again.due, counted_again.due_provisional) == (date(2027, 1, 11), False)


def test_lists_narrow_by_department_resource_and_state(city: Engine) -> None:
    _granted(city)
    sql.submit(city, request(department="tongji", resource="legal-entity", items=("employees",)), NOW)
    assert [row.grant.department for row in sql.grants(city, department="renshe")] == ["renshe"]
    assert sql.grants(city, resource="licence") == []
    assert [one.number for one in sql.applications(city, State.SUBMITTED)] == ["A-2026-0002"]


def test_the_sample_city_is_answered_as_its_file_says(city: Engine) -> None:
    plan = demo.read_plan((SAMPLE.parent / "sharing.toml").read_text(encoding="utf-8"))
    answers = demo.replay(city, plan, NOW)
    assert {row.grant.resource for row in answers.grants} == set(show(city).resource)
    assert len({row.grant.department for row in answers.grants}) >= 10
    assert len(answers.refusals) == len(answers.withheld) == 1
    assert not any(row.grant.department == "shangwu" for row in answers.grants if row.grant.resource == "population")


def _changed(database: Engine, number: str, items: tuple[str, ...], *masks: str) -> str:
    """Let another grant take the place of one; its number."""
    submitted = sql.submit(database, request(items=items, changes=number), NOW)
    return sql.agree(database, submitted.number, tuple(map(Mask.parse, masks)), (), "gongan", NOW).grant.number


def _on_the_log(database: Engine) -> list[tuple[str, str]]:
    """What was numbered of grants, in order."""
    number_all(database)
    with transaction(database) as connection:
        bodies = [row.body for row in beyond(connection, 0)]
    return [
        (body.kind, body.grant.number if isinstance(body, Granted) else body.grant)
        for body in bodies
        if isinstance(body, Granted | Revoked | Effective)
    ]


def _stop(database: Engine, number: str) -> None:
    """The registry has seen that nothing more is delivered under a grant."""
    with transaction(database) as connection:
        append(connection, [Effective(grant=number, edge={"0": 1})], NOW)
    number_all(database)


def test_a_narrower_grant_begins_when_the_one_in_whose_place_it_comes_is_stopped(city: Engine) -> None:
    old = _granted(city).grant.number
    new = _changed(city, old, ("citizen_id", "name", "migrated_on"), "citizen_id=first:6")
    newest = _changed(city, new, ("migrated_on",))
    begun = [("granted", old), ("revoked", old)]
    assert _on_the_log(city) == begun
    assert sql.grant(city, new).policy is None
    _stop(city, old)
    begun += [("effective", old), ("granted", new), ("revoked", new)]
    assert _on_the_log(city) == begun
    _stop(city, new)
    assert _on_the_log(city) == [*begun, ("effective", new), ("granted", newest)]
    assert f"替代 {old}" in sql.letter(city, new)


def test_a_wider_grant_begins_before_the_one_in_whose_place_it_comes_ends(city: Engine) -> None:
    old = _granted(city).grant.number
    new = _changed(city, old, ("citizen_id", "name", "migrated_on", "status"))
    assert _on_the_log(city) == [("granted", old), ("granted", new), ("revoked", old)]


def test_only_a_grant_of_its_own_that_is_in_force_gives_way_to_another(city: Engine) -> None:
    mine = _granted(city).grant.number
    with pytest.raises(CannotChange):
        sql.submit(city, request(department="tongji", changes=mine), NOW)
    decisions.suspend(city, mine, "misuse", date(2026, 12, 20), "gongan", NOW)
    with pytest.raises(CannotChange):
        sql.submit(city, request(changes=mine), NOW)
    with pytest.raises(sql.Unknown):
        sql.submit(city, request(changes="G-2026-0099"), NOW)
    assert len(sql.applications(city)) == 1
