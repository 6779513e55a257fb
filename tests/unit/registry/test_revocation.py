"""A revocation goes on from wherever it was cut off, and nothing closes before its edge is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.revocation.step import (
    Close,
    Closed,
    MarkEffective,
    WaitForEnds,
    WaitForLog,
    WaitForWriters,
    line,
    next_step,
    obstacle,
)
from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.desired import desired
from bianhe.schemas.policy import GrantState, Policy
from bianhe.schemas.records.policy import Effective
from support.policies import OPEN, city, effective, granted, policy, revoked

TONGJI, RENSHE = "G-2026-0002", "G-2026-0001"


@dataclass
class Cluster:
    """A cluster and an outbox in memory."""

    acknowledgements: dict[str, int] = field(default_factory=dict)
    ends: Mapping[int, int] | None = None
    decided: dict[str, Mapping[int, int]] = field(default_factory=dict)
    rules: set[AccessRule] = field(default_factory=set)

    def acknowledged(self, writer: str) -> int:
        return self.acknowledgements.get(writer, 0)

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        return self.ends

    def is_effective_decided(self, grant: str) -> bool:
        return grant in self.decided

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        return {1: rule in self.rules}


def acknowledged_by_all(after: Policy) -> dict[str, int]:
    return dict.fromkeys(after.writers, after.version)


def test_nothing_begins_before_the_revocation_stands_on_the_log() -> None:
    assert next_step(city(), TONGJI, Cluster()) == WaitForLog()
    assert next_step(city(), "G-2026-9999", Cluster()) == WaitForLog()


def test_every_writer_is_waited_for_by_name() -> None:
    after = policy(revoked(2), after=city())
    cluster = Cluster({"bus.router.0": after.version, "bus.router.1": after.version - 1}, ends={0: 5, 1: 6})
    step = next_step(after, TONGJI, cluster)
    assert step == WaitForWriters(after.version, ("bus.router.1",), 2)
    assert line(step) == f"revoking   policy {after.version} · 1 of 2 writers acknowledged"
    assert obstacle(step, TONGJI)[0] == "writer bus.router.1 has not acknowledged"


@pytest.mark.parametrize("ends", [None, {}, {0: 5}], ids=["pending", "no topic", "a partition unseen"])
def test_the_edge_is_taken_from_every_partition_once_nothing_is_pending(ends: Mapping[int, int] | None) -> None:
    after = policy(revoked(2), after=city())
    cluster = Cluster(acknowledged_by_all(after), ends=ends)
    assert isinstance(next_step(after, TONGJI, cluster), WaitForEnds)
    cluster.ends = {0: 5, 1: 6}
    assert next_step(after, TONGJI, cluster) == MarkEffective(after.version, 2, {0: 5, 1: 6})


def test_an_open_channel_has_no_edge_and_waits_for_no_writer() -> None:
    after = policy(revoked(1), after=city())
    assert next_step(after, RENSHE, Cluster()) == MarkEffective(after.version, 0, {})


def test_the_access_rule_stays_while_another_grant_carries_it() -> None:
    both = policy(granted(7, "renshe", OPEN), revoked(1), effective(1), after=city())
    rules = {rule for rule in desired(both).rules if rule.name == OPEN}
    assert isinstance(next_step(both, RENSHE, Cluster(rules=rules)), Closed)
    last = policy(revoked(7), effective(7), after=both)
    assert isinstance(next_step(last, RENSHE, Cluster(rules=rules)), Close)


@given(st.lists(st.sampled_from(["relay", "worker 0", "worker 1", "settle", "step"]), max_size=40))
def test_cut_off_anywhere_it_ends_closed_with_one_edge(events: list[str]) -> None:
    log = policy(revoked(2), after=city())
    cluster = Cluster(rules=set(desired(log).rules))
    logged: set[str] = set()
    for event in [*events, "worker 0", "worker 1", "settle", "step", "relay", "step", "step"]:
        match event:
            case "relay":
                edges = {number: edge for number, edge in cluster.decided.items() if number not in logged}
                bodies = [
                    Effective(grant=number, edge={str(partition): end for partition, end in edge.items()})
                    for number, edge in edges.items()
                ]
                log = policy(*bodies, after=log)
                logged |= edges.keys()
            case "worker 0" | "worker 1":
                cluster.acknowledgements[f"bus.router.{event[-1]}"] = log.version
            case "settle":
                cluster.ends = {0: 5, 1: 6}
            case _:
                step = next_step(log, TONGJI, cluster)
                if isinstance(step, MarkEffective):
                    assert not cluster.decided
                    cluster.decided[TONGJI] = step.edge
                elif isinstance(step, Close):
                    assert log.grants[TONGJI].state is GrantState.EFFECTIVE
                    cluster.rules.discard(step.rule)
    assert next_step(log, TONGJI, cluster) == Closed({0: 5, 1: 6}, 1)
    assert cluster.rules == set(desired(log).rules)
