"""The log is numbered without hole, double or fork, whatever the outbox holds and whenever the relay died."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.policy.chain import LogUnlikeDatabase, OutboxRow, check_origin, check_witness, number
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.signatures import SigningKey
from support.policies import AT, department, policy

KEY = SigningKey(bytes(32))
ROWS = [OutboxRow(f"row-{index}", AT, department(f"d{index}")) for index in range(12)]


@given(st.lists(st.integers(min_value=0, max_value=12)))
def test_a_relay_that_dies_anywhere_leaves_one_chain_with_each_row_once(deaths: list[int]) -> None:
    log = number(EMPTY, ROWS[:3], (), KEY)
    for rows_decided in deaths:
        # Killed after the commit and before the database learned of it: the same rows come again.
        log += number(fold(EMPTY, log), ROWS[:rows_decided], {record.id for record in log}, KEY)
    log += number(fold(EMPTY, log), ROWS, {record.id for record in log}, KEY)
    assert fold(EMPTY, log).version == len(ROWS)
    assert sorted(record.id for record in log) == sorted(row.id for row in ROWS)


def test_records_continue_the_log_they_are_given() -> None:
    before = policy(department("renshe"), department("tongji"))
    first, second = number(before, ROWS[:2], (), KEY)
    assert (first.number, first.previous) == (3, before.head)
    assert (second.number, second.previous) == (4, first.hash)


def test_a_database_that_knows_more_than_the_log_stops_the_relay() -> None:
    check_witness(policy(department("renshe")), 1, 1)
    with pytest.raises(LogUnlikeDatabase, match="ends at 1"):
        check_witness(policy(department("renshe")), 2, None)


@pytest.mark.parametrize("same", [None, 2])
def test_a_log_with_another_record_at_the_last_number_stops_the_relay(same: int | None) -> None:
    with pytest.raises(LogUnlikeDatabase, match="record 1"):
        check_witness(policy(department("renshe")), 1, same)


def test_a_database_that_was_told_of_no_number_yet_may_be_told_by_its_own_log_alone() -> None:
    check_witness(policy(department("renshe")), 0, None)
    check_origin(EMPTY, known=False)
    check_origin(policy(department("renshe")), known=True)
    with pytest.raises(LogUnlikeDatabase, match="has 1 records"):
        check_origin(policy(department("renshe")), known=False)
