import json
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pytest

from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route, compile_plan
from bianhe.consumers.router.routing import Headers, Quarantine, SourceRecord, UnknownSchema, is_sound, route_record
from bianhe.schemas.compatibility import revision_faults
from bianhe.schemas.contract import Contract
from bianhe.schemas.grant import Mask, MaskKind
from bianhe.schemas.identifiers import citizen_id
from bianhe.schemas.records.policy import Body, Lifted, Resumed, Revoked, Stopped, Suspended, Target
from bianhe.schemas.view import grant_view, open_view
from bianhe.schemas.wire import Malformed, frame
from support.policy_bodies import MAILBOX, OPEN, channel, granted, policy, population
from support.records import PERSON, body, contract, person, read

TODAY = date(2026, 11, 22)
NOW = 1_795_000_000_000
KEY = b"k" * 43


def a_route(*bodies: Body) -> tuple[Route, PartitionState]:
    plan = compile_plan(policy(population(), *bodies), b"p" * 32)
    route = plan.routes["source.population.v1"]
    state = PartitionState(route.source, 0, committed=0)
    state.aim(route)
    return route, state


def a_state(*bodies: Body) -> PartitionState:
    return a_route(*bodies)[1]


class Outgoing(NamedTuple):
    topic: str
    value: bytes | None
    headers: Headers | None


def run(state: PartitionState, value: bytes | None, key: bytes = KEY, at: int = NOW) -> list[Outgoing]:
    record = SourceRecord(offset=state.position, key=key, value=value, append_millis=at)
    values, nulls = route_record(record, state, 7)
    state.position += 1
    delivered = [Outgoing(topic, value, None) for topic, value in zip(state.topics, values, strict=False) if value]
    return delivered + [Outgoing(topic, None, headers) for topic, headers in nulls]


def fields(outgoing: Outgoing, view_schema: dict[str, Any]) -> dict[str, Any]:
    assert outgoing.value is not None
    return read(view_schema, outgoing.value)


def test_the_open_channel_gets_the_unconditional_items_and_nothing_else() -> None:
    state = a_state(channel())
    [delivered] = run(state, person())
    record = fields(delivered, open_view(contract()).schema())
    assert delivered.topic == OPEN
    assert record["bus_offset"] == 0
    assert record["bus_seq"] == 1
    assert record["bus_policy"] == 7
    assert set(record) - {"bus_offset", "bus_seq", "bus_policy"} == {*PERSON} - {
        "former_name", "ethnic_group", "marital_status", "migrated_from", "migrated_on", "contact_phone",
    }  # fmt: skip


def test_a_mailbox_gets_the_granted_items_masked_in_contract_order() -> None:
    state = a_state(granted(masks=("citizen_id=first:6",)))
    [delivered] = run(state, person())
    record = fields(delivered, grant_view(contract(), granted(masks=("citizen_id=first:6",)).grant).schema())
    assert list(record)[-3:] == ["citizen_id", "name", "ethnic_group"]
    assert (record["citizen_id"], record["name"], record["ethnic_group"]) == ("410202", "王某", "01")


def test_bus_seq_is_contiguous_per_topic_and_partition() -> None:
    state = a_state(channel(), granted("residence_division prefix 410212"))
    for division in ("410212", "410202", "410212"):
        run(state, person(residence_division=division), key=division.encode())
    assert {topic: view.seq for topic, view in state.touched().items()} == {OPEN: 3, MAILBOX: 2}


def test_leaving_a_row_rule_retracts_once_and_entering_delivers() -> None:
    state = a_state(granted("residence_division prefix 410212"))
    kinds = []
    for division in ("410202", "410212", "410212", "410202", "410202", "410212"):
        outgoing = run(state, person(residence_division=division))
        kinds.append([dict(o.headers or [])["bus_kind"] if o.value is None else b"" for o in outgoing])
    assert kinds == [[], [b""], [b""], [b"retracted"], [], [b""]]


def test_a_removal_goes_only_to_filtered_views_that_hold_the_entity() -> None:
    state = a_state(channel(), granted("residence_division prefix 410212"))
    run(state, person(residence_division="410202"))
    removal = run(state, None)
    assert [(o.topic, dict(o.headers or [])["bus_kind"]) for o in removal] == [(OPEN, b"removed")]


def test_nothing_is_delivered_from_the_first_millisecond_after_the_term_and_a_cut_view_stays_cut() -> None:
    mailbox = granted(until="2026-11-22")
    state = a_state(mailbox)
    end = mailbox.grant.until_millis
    assert [len(run(state, person(), at=at)) for at in (end - 1, end, end - 1)] == [1, 0, 0]
    state.commit()
    assert run(state, person(), at=end - 1) == []


def test_an_aborted_transaction_leaves_no_trace() -> None:
    state = a_state(granted("residence_division prefix 410212"))
    run(state, person())
    state.commit()
    run(state, person(residence_division="410202"))
    run(state, person(), key=b"other")
    state.abort()
    assert (state.position, state.views[MAILBOX].seq, state.held[MAILBOX]) == (1, 1, {KEY})
    assert not state.changed


def test_a_revoked_grant_has_no_delivery() -> None:
    route, _ = a_route(granted(), Revoked(grant="G-2026-0001", ground="purpose-met", decided_by="gongan"))
    assert route.deliveries == ()


def test_a_grant_on_the_log_that_is_no_view_gets_nothing_and_holds_no_other_up() -> None:
    mailbox = granted()
    mask = Mask(item="citizen_id", kind=MaskKind.FIRST, argument="-3")
    grant = mailbox.grant.model_copy(update={"masks": (mask,)})
    route, state = a_route(channel(), mailbox.model_copy(update={"grant": grant, "digest": grant.digest}))
    assert route.still == {MAILBOX}
    assert route.refused.keys() == {grant.number}
    assert [each.topic for each in run(state, person())] == [OPEN]


STOPS = {
    target: Stopped(target=target, code=code, reason="x", decided_by="x")
    for target, code in ((Target.DEPARTMENT, "renshe"), (Target.RESOURCE, "population"))
}


@pytest.mark.parametrize(("target", "still"), [(Target.DEPARTMENT, {MAILBOX}), (Target.RESOURCE, {MAILBOX, OPEN})])
def test_what_is_stopped_stands_still_and_goes_on_when_it_is_lifted(target: Target, still: set[str]) -> None:
    stop = STOPS[target]
    route, _ = a_route(channel(), granted(), stop)
    assert route.still == still
    assert {each.topic for each in route.deliveries} == {MAILBOX, OPEN} - still
    lifted = Lifted(target=target, code=stop.code, decided_by="y")
    route, _ = a_route(channel(), granted(), stop, stop, lifted)
    assert ({each.topic for each in route.deliveries}, route.still) == ({MAILBOX, OPEN}, frozenset())


def test_a_stop_and_a_suspension_each_need_their_own_end() -> None:
    suspended = Suspended(grant="G-2026-0001", ground="misuse", correct_by=TODAY, decided_by="x")
    resumed = Resumed(grant="G-2026-0001", decided_by="x")
    route, _ = a_route(granted(), suspended, STOPS[Target.DEPARTMENT], resumed)
    assert route.still == {MAILBOX}
    lifted = Lifted(target=Target.DEPARTMENT, code="renshe", decided_by="y")
    route, _ = a_route(granted(), suspended, STOPS[Target.DEPARTMENT], lifted)
    assert route.still == {MAILBOX}


def test_an_unchanged_route_is_kept_over_a_policy_change() -> None:
    before = compile_plan(policy(population(), channel()), None)
    after = compile_plan(policy(population(), channel(), population(code="other")), None, before)
    assert after.routes["source.population.v1"] is before.routes["source.population.v1"]


@pytest.mark.parametrize("key", [None, b"", b"a b", b"x" * 65, b"410202199001010018"])
def test_b25_a_key_that_is_missing_misshapen_or_an_identity_number_is_quarantined(key: bytes | None) -> None:
    state = a_state(channel())
    with pytest.raises(Quarantine):
        route_record(SourceRecord(0, key, person(), NOW), state, 7)
    assert not state.journal(7).views


def test_a_key_is_judged_by_the_day_of_its_append_whenever_the_record_is_read() -> None:
    route, _ = a_route(channel())
    key = citizen_id.make("410202", date(2026, 12, 31), 1).encode()
    days = [int(datetime(2026, 12, day, tzinfo=UTC).timestamp()) * 1000 for day in (30, 31)]
    assert [is_sound(SourceRecord(0, key, person(), at), route) for at in days] == [True, False]


def test_b19_an_unknown_schema_id_is_told_apart_from_malformed_bytes() -> None:
    state = a_state(channel())
    with pytest.raises(UnknownSchema):
        run(state, person(schema_id=9999))
    for value in (b"", b"\0\0", b"\1" + person()[1:], person()[:-1], person() + b"\0", b"\0\0\0\0d" + body(PERSON)[:3]):
        with pytest.raises(Malformed):
            run(state, value)


def test_b24_a_record_over_the_limit_is_quarantined() -> None:
    state = a_state(channel())
    with pytest.raises(Quarantine, match="too large"):
        run(state, person(address="x" * 1_000_001))


def test_a_record_written_under_an_earlier_revision_of_the_contract_is_routed_with_the_added_item_null() -> None:
    before, added = contract(), {"name": "blood_type", "type": ["null", "string"], "default": None, "title": "血型"}
    properties = {"code": "RK-099", "part": "business", "sharing": "conditional", "sensitivity": 3, "length": 2}
    fields_after = [*before.schema["fields"]]
    fields_after.insert(5, {**added, **properties})
    text = json.dumps({**before.schema, "fields": fields_after})
    revised = population().model_copy(update={"schema_id": 200, "contract": text})
    mailbox = granted()
    grant = mailbox.grant.model_copy(update={"items": ("citizen_id", "blood_type", "name")})
    wider = mailbox.model_copy(update={"grant": grant, "digest": grant.digest})
    assert revision_faults(before, Contract.parse(text)) == []

    plan = compile_plan(policy(population(), revised, wider), None)
    route = plan.routes["source.population.v1"]
    state = PartitionState(route.source, 0, committed=0)
    state.aim(route)
    view = grant_view(Contract.parse(text), grant).schema()
    new_record = frame(200, body({**PERSON, "blood_type": "A"}, json.loads(text)))
    delivered = [fields(run(state, value)[0], view) for value in (person(schema_id=100), new_record)]
    assert [record["blood_type"] for record in delivered] == [None, "A"]
    assert [record["name"] for record in delivered] == ["王某", "王某"]
