import pytest

from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import compile_plan
from bianhe.consumers.router.routing import SourceRecord, route_record
from bianhe.consumers.router.transaction import Budget, closing_records, quarantined
from bianhe.schemas import names
from bianhe.schemas.records.journal import JournalEntry, Quarantined, ViewEntry
from bianhe.schemas.records.state import STATE_PARTITIONS, Acknowledgement, Position, ViewPosition, worker_partition
from support.policy_bodies import OPEN, channel, policy, population
from support.records import person

ID = "bus.router.0"
NOW = 1_795_000_000_000


def a_partition(routed: int) -> PartitionState:
    route = compile_plan(policy(population(), channel()), None).routes["source.population.v1"]
    state = PartitionState(route.source, 0, committed=0)
    state.aim(route)
    for offset in range(routed):
        route_record(SourceRecord(offset, b"k", person(), NOW), state, 7)
        state.position = offset + 1
    return state


def test_a_transaction_writes_journal_state_and_acknowledgement() -> None:
    written = {(r.topic, r.key): r.value for r in closing_records([a_partition(3)], 7, ID, acknowledged=6)}
    source = "source.population.v1/0"
    assert JournalEntry.decode(written[names.JOURNAL, source]) == JournalEntry(0, 3, 7, 0, (ViewEntry(OPEN, 3, 0, 3),))
    assert Position.decode(written[names.ROUTER_STATE, source]) == Position(3, 7)
    assert ViewPosition.decode(written[names.ROUTER_STATE, f"{source}/{OPEN}"]) == ViewPosition(0, 3, 3, False, True)
    assert Acknowledgement.decode(written[names.ROUTER_STATE, f"worker/{ID}"]) == Acknowledgement(7)
    assert len(written) == 4


def test_a_view_that_begins_is_written_down_before_its_first_record() -> None:
    [record] = closing_records([a_partition(0)], 7, ID, acknowledged=7)
    assert ViewPosition.decode(record.value) == ViewPosition(begin=0, seq=0, position=0, cut=False, joined=True)


def test_after_a_commit_nothing_is_left_to_write() -> None:
    state = a_partition(3)
    state.commit()
    assert list(closing_records([state], 7, ID, acknowledged=7)) == []


def test_acknowledgements_do_not_share_a_partition_with_positions() -> None:
    assert {worker_partition(f"bus.router.{n}") for n in range(8)} == set(
        range(STATE_PARTITIONS // 2, STATE_PARTITIONS)
    )


def test_a_quarantine_note_tells_where_and_why_and_carries_no_payload() -> None:
    note = quarantined(SourceRecord(5, b"k", person(name="王某"), NOW), "source.population.v1", 2, "too long")
    read = Quarantined.decode(note.value)
    assert (read.topic, read.partition, read.offset, read.reason) == ("source.population.v1", 2, 5, "too long")
    assert "王某".encode() not in note.value
    assert len(read.digest) == 64


def test_a_transaction_ends_at_each_of_its_limits() -> None:
    limits = Limits()
    for events, size, seconds in ((limits.events_max, 0, 0.0), (1, limits.bytes_max, 0.0), (1, 0, 0.1)):
        budget = Budget(limits, begun_seconds=50.0)
        assert not budget.spent(50.0)
        for _ in range(events):
            budget.took(size)
        assert budget.spent(50.0 + seconds)


def test_a_worker_that_is_behind_fills_its_transaction_for_longer_and_no_further() -> None:
    limits = Limits()
    budget = Budget(limits, begun_seconds=50.0)
    assert budget.spent(50.0 + limits.transaction_seconds_max)
    assert not budget.spent(50.0 + limits.transaction_seconds_max, behind=True)
    assert budget.spent(50.0 + limits.transaction_seconds_behind, behind=True)
    budget.took(limits.bytes_max)
    assert budget.spent(50.0, behind=True)


def test_a_transaction_waits_for_what_arrives_with_its_first_record_and_for_the_one_before_to_be_over() -> None:
    limits = Limits()
    assert Budget(limits, 50.0).patience(50.0) == pytest.approx(limits.gathering_seconds)
    assert Budget(limits, 50.0, 49.99).patience(50.0) == pytest.approx(limits.rest_seconds - 0.01)
    assert Budget(limits, 50.0, 50.0).patience(50.0 + limits.rest_seconds) == pytest.approx(0)
