"""A revocation goes on from wherever it was cut off, and nothing closes before its edge is known."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.revocation.lines import line, obstacle
from bianhe.registry.revocation.receipt import Evidence, verify
from bianhe.registry.revocation.step import (
    FENCE_SECONDS,
    Done,
    Fence,
    Finish,
    MarkEffective,
    Step,
    WaitForEnds,
    WaitForFetches,
    WaitForLog,
    WaitForWriters,
    Withdraw,
    expired,
    in_turn,
    next_step,
    on_their_way,
)
from bianhe.registry.sync.desired import desired, reading_rule
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Resumed, Revoked, Suspended, Writers
from support.policies import OPEN, WRITERS, city, effective, granted, policy, revoked
from support.simulated_cluster import BROKERS, IDLE_MILLIS, PARTITIONS, SimulatedCluster

TONGJI, RENSHE = "G-2026-0002", "G-2026-0001"
FIRST, SECOND = WRITERS.transactional_ids


def a_revocation(number: str = TONGJI, *, withdraw: bool = False) -> SimulatedCluster:
    """A cluster where a revocation stands on the log, and nobody has read it."""
    cluster = SimulatedCluster(city(), number)
    cluster.decide(Revoked(grant=number, ground="purpose-met", decided_by="gongan", withdraw=withdraw))
    cluster.relay()
    return cluster


def to_the_end(cluster: SimulatedCluster, *, working: bool = True, dies: bool = False) -> Done:
    """Go on until the revocation is done, the process that carries it out dying after every step it takes."""
    before: Step | None = None
    for _ in range(40):
        for writer in WRITERS.transactional_ids if working else ():
            cluster.work(writer)
        cluster.tick(1)
        cluster.relay()
        if isinstance(step := cluster.step(), Done):
            return step
        if dies and step != before:
            cluster.crash()
        before = step
        for broker in BROKERS:
            cluster.propagate(broker)
    raise AssertionError(f"it stands still at {step}")


def test_nothing_begins_before_the_revocation_stands_on_the_log() -> None:
    cluster = SimulatedCluster(city(), TONGJI)
    assert next_step(city(), TONGJI, cluster) == WaitForLog()
    assert next_step(city(), "G-2026-9999", cluster) == WaitForLog()


def test_only_what_was_revoked_or_suspended_is_looked_at() -> None:
    """Tongji's goes on again; minzheng's is being revoked; those of jiaoyu and shangwu are closed or will be."""
    before = policy(
        Suspended(grant=TONGJI, ground="misuse", decided_by="gongan", correct_by=date(2027, 1, 31)), after=city()
    )
    after = policy(Resumed(grant=TONGJI, decided_by="gongan"), after=before)
    cluster = SimulatedCluster(after, TONGJI)
    for number in after.grants:
        step = next_step(after, number, cluster)
        assert isinstance(step, WaitForLog | Done) or number in on_their_way(after)
    assert TONGJI in on_their_way(before)
    assert RENSHE not in on_their_way(after)


def test_what_is_still_written_to_comes_before_what_waits_to_be_closed() -> None:
    others = [f"G-2026-{number:04}" for number in (7, 8, 9)]
    waiting, revoking, later = others
    given = (granted(number, "tongji") for number in (7, 8, 9))
    after = policy(*given, revoked(7), effective(7, {"0": 1}), revoked(8), revoked(9), after=city())
    assert in_turn(after, {waiting: 1.0, revoking: 2.0, later: 4.0}, 3.0) == [revoking, waiting]


@pytest.mark.parametrize(("early_millis", "over"), [(0, True), (1, False)])
def test_a_term_is_over_where_routers_end_it(early_millis: int, over: bool) -> None:
    assert (TONGJI in expired(city(), city().grants[TONGJI].grant.until_millis - early_millis)) is over


def test_every_writer_is_waited_for_by_name_and_then_fenced() -> None:
    cluster = a_revocation()
    version = cluster.log.version
    cluster.work(FIRST)
    step = cluster.step()
    assert step == WaitForWriters(version, (SECOND,), 2)
    assert line(step) == f"revoking   policy {version} · 1 of 2 writers acknowledged"
    assert obstacle(step, TONGJI)[0] == f"writer {SECOND} has not acknowledged"
    cluster.tick(FENCE_SECONDS + 1)
    assert cluster.step() == Fence(version, (SECOND,))
    edge = cluster.step()
    assert edge == MarkEffective(version, 2, {0: 0, 1: 0}, (SECOND,))
    assert line(edge) == f"revoking   policy {version} · 1 of 2 writers acknowledged, 1 fenced"


def test_one_that_is_no_writer_any_more_is_fenced_at_once() -> None:
    cluster = a_revocation()
    cluster.decide(Writers(transactional_ids=(FIRST,)))
    cluster.relay()
    assert cluster.step() == Fence(cluster.log.grants[TONGJI].reached[GrantState.REVOKING].version, (SECOND,))


def test_the_edge_is_taken_from_every_partition_once_nothing_is_pending() -> None:
    cluster = SimulatedCluster(city(), TONGJI)
    cluster.work(FIRST)
    cluster.decide(revoked(2))
    cluster.relay()
    cluster.workers[FIRST].acknowledged = cluster.workers[SECOND].acknowledged = cluster.log.version
    assert isinstance(cluster.step(), WaitForEnds)
    cluster.work(FIRST)
    cluster.mailbox.pop(1)
    assert isinstance(cluster.step(), WaitForEnds)
    cluster.mailbox[1] = 2
    assert cluster.step() == MarkEffective(cluster.log.version, 2, {0: 2, 1: 2})


def test_an_open_channel_is_effective_when_no_fetch_from_before_can_wait() -> None:
    cluster = a_revocation(RENSHE)
    cluster.workers[FIRST].hangs = True
    assert cluster.step() == MarkEffective(cluster.log.version, 0, {})
    cluster.relay()
    cluster.step()
    for broker in BROKERS:
        cluster.propagate(broker)
    assert cluster.step() == WaitForFetches(IDLE_MILLIS)
    cluster.tick(IDLE_MILLIS / 1000 - 1)
    cluster.crash()
    assert cluster.step() == WaitForFetches(IDLE_MILLIS)
    cluster.tick(IDLE_MILLIS / 1000)
    assert cluster.step() == Finish({}, 0.0, BROKERS, waited_millis=IDLE_MILLIS)
    receipt = to_the_end(cluster).receipt
    assert receipt.effective_at == receipt.closed_at


def test_the_access_rule_stays_while_another_grant_carries_it() -> None:
    cluster = SimulatedCluster(policy(granted(7, "renshe", OPEN), after=city()), RENSHE)
    cluster.decide(revoked(1))
    assert to_the_end(cluster).receipt.kept_for == ("G-2026-0007",)
    assert all(reading_rule(cluster.log.grants[RENSHE]) in rules for rules in cluster.rules.values())


EVENTS = ["relay", "step", "crash", "tick", "propagate", "work", "hang", "wake", "restart"]


@given(
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1)), max_size=60),
    withdraw=st.booleans(),
    decided_at=st.integers(0, 10),
    always_dies=st.booleans(),
)
def test_cut_off_anywhere_it_ends_with_one_receipt_and_nothing_at_or_after_the_edge(
    events: list[tuple[str, int]], withdraw: bool, decided_at: int, always_dies: bool
) -> None:
    cluster = SimulatedCluster(city(), TONGJI)
    rule = reading_rule(cluster.log.grants[TONGJI])
    for number, (event, which) in enumerate([*events, ("relay", 0)]):
        if number == min(decided_at, len(events)):
            cluster.decide(Revoked(grant=TONGJI, ground="purpose-met", decided_by="gongan", withdraw=withdraw))
        writer = WRITERS.transactional_ids[which]
        match event:
            case "hang":
                cluster.workers[writer].hangs = True
            case "work" | "wake" | "restart":
                getattr(cluster, event)(writer)
            case "propagate":
                cluster.propagate(BROKERS[which])
            case "tick":
                cluster.tick(2.5)
            case _:
                getattr(cluster, event)()
        if cluster.log.grants[TONGJI].state is GrantState.REVOKING:
            assert all(rule in known for known in cluster.rules.values())
        if cluster.edge:
            assert cluster.mailbox == cluster.edge
    receipt = to_the_end(cluster, working=not always_dies, dies=always_dies).receipt
    for writer in WRITERS.transactional_ids:
        cluster.wake(writer)
        cluster.work(writer)
    assert cluster.mailbox == cluster.edge == {int(partition): end for partition, end in receipt.edge.items()}
    assert cluster.begins == (cluster.edge if withdraw else dict.fromkeys(PARTITIONS, 0))
    assert not any(rule in known for known in cluster.rules.values())
    assert rule not in desired(cluster.log).rules
    evidence = Evidence(cluster.mailbox, cluster.begins, cluster.brokers_with(rule))
    assert not any(check.holds is False for check in verify(receipt, cluster.log, evidence))


CHANGES = {
    "another grant": {"grant": "G-2026-0004"},
    "another ground": {"ground": "term-ended"},
    "another edge": {"edge": {"0": 0, "1": 1}},
    "no withdrawal": {"withdrawn": False},
    "another version": {"policy": 3},
    "another hash": {"digest": "0" * 64},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_receipt_that_says_otherwise_than_the_log_is_told(change: dict[str, object]) -> None:
    cluster = a_revocation(withdraw=True)
    receipt = to_the_end(cluster).receipt
    evidence = Evidence(cluster.mailbox, cluster.begins, dict.fromkeys(BROKERS, False))
    assert not any(check.holds is False for check in verify(receipt, cluster.log, evidence))
    forged = receipt.model_copy(update=change)
    assert any(check.holds is False for check in verify(forged, cluster.log, evidence))


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence({0: 1, 1: 0}, {0: 0, 1: 0}, {1: False}),
        Evidence({0: 0}, {0: 0}, {1: False}),
        Evidence({0: 0, 1: 0}, {0: 0, 1: 0}, {1: False, 2: True}),
    ],
    ids=["a record after the edge", "a partition gone", "an access rule"],
)
def test_a_cluster_that_is_otherwise_than_the_receipt_is_told(evidence: Evidence) -> None:
    cluster = a_revocation()
    receipt = to_the_end(cluster).receipt
    assert any(check.holds is False for check in verify(receipt, cluster.log, evidence))


def test_what_is_to_be_withdrawn_is_deleted_before_the_access_rule_goes() -> None:
    cluster = SimulatedCluster(city(), TONGJI)
    cluster.work(FIRST)
    cluster.decide(Revoked(grant=TONGJI, ground="purpose-met", decided_by="gongan", withdraw=True))
    for _ in range(2):
        cluster.relay()
        for writer in WRITERS.transactional_ids:
            cluster.work(writer)
        step = cluster.step()
    assert isinstance(step, Withdraw)
    assert cluster.begins == cluster.edge == {0: 2, 1: 2}
