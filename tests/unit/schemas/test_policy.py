from datetime import UTC, date, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bianhe.schemas.policy import EMPTY, GrantState, fold
from bianhe.schemas.records.policy import (
    GENESIS,
    Body,
    BrokenPolicyLog,
    Closed,
    Department,
    Effective,
    PolicyRecord,
    Released,
    Resumed,
    Revoked,
    Suspended,
    decode_body,
    encode_body,
)
from bianhe.schemas.records.receipt import Receipt
from support.policy_bodies import MAILBOX, OPEN, SOURCE, channel, granted, policy, population, writers

AT = datetime(2026, 11, 22, tzinfo=UTC)
BODIES: tuple[Body, ...] = (
    writers(),
    population(),
    channel(),
    granted(),
    Revoked(grant="G-2026-0001", ground="purpose-met", decided_by="gongan"),
    Effective(grant="G-2026-0001", edge={"0": 5}),
    Closed(
        receipt=Receipt(
            number="R-2026-0001",
            grant="G-2026-0001",
            digest=granted().digest,
            department="renshe",
            resource="population",
            topic=MAILBOX,
            ground="purpose-met",
            decided_by="gongan",
            decided_at=AT,
            policy=5,
            edge={"0": 5},
            effective_at=AT,
            brokers=(1,),
            closed_at=AT,
        )
    ),
)
SUSPENDED = Suspended(grant="G-2026-0001", ground="misuse", correct_by=date(2026, 12, 20), decided_by="gongan")


RESUMED = Resumed(grant="G-2026-0001", decided_by="gongan")


def released(before: dict[str, int]) -> Released:
    return Released(resource="population", version=1, before=before, reason="published rightly", decided_by="ops")


def record(number: int, previous: str, body: Body) -> PolicyRecord:
    return PolicyRecord(number=number, previous=previous, id=f"id-{number}", at=AT, body=body)


@pytest.mark.parametrize("body", [*BODIES, SUSPENDED, RESUMED, released({"0": 5})], ids=lambda body: body.kind)
def test_a_record_is_read_as_it_was_written(body: Body) -> None:
    written = record(1, GENESIS, body)
    read = PolicyRecord.decode(written.encode())
    assert (read, read.hash) == (written, written.hash)
    assert read.model_copy(update={"number": 2}).hash == written.model_copy(update={"number": 2}).hash != read.hash
    assert decode_body(encode_body(body)) == body


@given(st.text(), st.sets(st.integers(0, 2**31)), st.datetimes(timezones=st.just(UTC)), st.sampled_from(BODIES))
def test_what_is_hashed_is_canonical_json_by_another_hand(
    words: str, numbers: set[int], at: datetime, body: Body
) -> None:
    edge = {str(number)[:9]: number for number in numbers}
    said = Department(code=words, title=words, clients=(words,), bytes_per_second=len(words))
    for one in (body, said, Effective(grant=words, edge=edge)):
        written = PolicyRecord(number=len(numbers), previous=GENESIS, id=words, at=at, body=one)
        assert written.encode() == rfc8785.dumps(written.model_dump(mode="json"))


def test_an_edge_names_partitions_and_nothing_else() -> None:
    with pytest.raises(ValidationError):
        Effective(grant="G-2026-0001", edge={"٣": 5})


def test_a_record_that_is_not_canonical_is_refused() -> None:
    value = record(1, GENESIS, writers()).encode().replace(b'"number":1', b'"number": 1')
    with pytest.raises(BrokenPolicyLog, match="canonical"):
        PolicyRecord.decode(value)


@pytest.mark.parametrize("value", [b"", b"{}", b"not json", b'{"number":1}'])
def test_what_cannot_be_read_stops_everything(value: bytes) -> None:
    with pytest.raises(BrokenPolicyLog):
        PolicyRecord.decode(value)


def test_a_hole_and_a_fork_are_told() -> None:
    first = record(1, GENESIS, writers())
    for stranger in (record(3, first.hash, population()), record(2, GENESIS, population()), first):
        with pytest.raises(BrokenPolicyLog, match="does not follow"):
            fold(EMPTY, [first, stranger])


def test_a_grant_whose_hash_is_another_is_refused() -> None:
    forged = granted().model_copy(update={"digest": "0" * 64})
    with pytest.raises(BrokenPolicyLog, match="hash"):
        policy(population(), forged)


def test_a_grant_begins_once_and_ends_only_if_it_began() -> None:
    with pytest.raises(BrokenPolicyLog, match="twice"):
        policy(granted(), granted())
    with pytest.raises(BrokenPolicyLog, match="never began"):
        policy(Revoked(grant="G-2026-0009", ground="purpose-met", decided_by="gongan"))


def test_a_grant_keeps_its_access_rules_until_it_is_effective() -> None:
    states = []
    for known in range(4, 8):
        grant = policy(*BODIES[:known]).grants["G-2026-0001"]
        states.append((grant.state, grant.readable))
    ends = [(GrantState.EFFECTIVE, False), (GrantState.CLOSED, False)]
    assert states == [(GrantState.ACTIVE, True), (GrantState.REVOKING, True), *ends]
    ended = policy(*BODIES).grants["G-2026-0001"]
    assert (ended.topic, ended.edge, ended.reached[GrantState.REVOKING].version) == (MAILBOX, {0: 5}, 5)


@pytest.mark.parametrize(("topic", "readable"), [(MAILBOX, True), (OPEN, False)])
def test_a_suspended_grant_can_be_resumed_and_revoked(topic: str, readable: bool) -> None:
    begins = granted().model_copy(update={"topic": topic})
    stands_still = policy(begins, SUSPENDED).grants["G-2026-0001"]
    assert (stands_still.state, stands_still.readable) == (GrantState.SUSPENDED, readable)
    assert policy(begins, SUSPENDED, RESUMED).grants["G-2026-0001"].state is GrantState.ACTIVE
    assert policy(begins, SUSPENDED, BODIES[4]).grants["G-2026-0001"].state is GrantState.REVOKING


@given(st.lists(st.sampled_from([*BODIES[4:], SUSPENDED, RESUMED]), max_size=8))
def test_what_has_ended_stays_ended(bodies: list[Body]) -> None:
    order = list(GrantState)
    states = [policy(BODIES[3], *bodies[:count]).grants["G-2026-0001"].state for count in range(len(bodies) + 1)]
    ended = [order.index(state) for state in states if state.ended]
    assert ended == sorted(ended)
    assert all(state.ended for state in states[len(states) - len(ended) :])


def test_folding_in_parts_equals_folding_at_once() -> None:
    whole = policy(*BODIES)
    records: list[PolicyRecord] = []
    for body in BODIES:
        records.append(record(len(records) + 1, records[-1].hash if records else GENESIS, body))
    parts = EMPTY
    for one in records:
        parts = fold(parts, [one])
    assert (parts.version, parts.head, parts.grants) == (whole.version, whole.head, whole.grants)


def test_a_policy_shares_what_a_record_does_not_touch_with_the_one_before() -> None:
    before = policy(*BODIES[:4])
    after = fold(before, [record(5, before.head, BODIES[4])])
    assert after.revisions["population", 1] is before.revisions["population", 1]
    assert after.present_channels["population", 1] is before.present_channels["population", 1]
    assert MAILBOX not in {grant.topic for grant in after.mailboxes["population", 1].values()}
    assert before.mailboxes["population", 1]["G-2026-0001"].state is GrantState.ACTIVE


def test_a_release_counts_for_its_partitions_until_the_next_one() -> None:
    after = policy(population(), released({"0": 10, "1": 20}), released({"1": 30}))
    assert dict(after.released) == {(SOURCE, 0): 10, (SOURCE, 1): 30}


def test_the_last_revision_of_an_open_channel_is_the_one_written() -> None:
    second = channel().model_copy(update={"revision": 2, "topic": "open.population.v1.r2"})
    assert policy(population(), second, channel()).present_channels["population", 1] == second
