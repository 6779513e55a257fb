"""Grants that end or stand still while events flow: nothing at or after an edge whatever workers do, nothing lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import date

import pytest
from faults.town import PATIENCE, WORKERS, Town, a_town, granted, mailbox

from bianhe.consumers.checker.findings import Kind
from bianhe.consumers.checker.kafka import check_cluster
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation.kafka import watch
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Resumed, Suspended
from support.broker import eventually
from support.policy_bodies import SOURCE

STANDING, FILTERED, OVER = 4, 5, 6


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with a_town(tmp_path_factory.mktemp("town"), listed=3) as town:
        town.grant(*map(granted, (1, 2, 3, STANDING)), granted(FILTERED, "residence_division prefix 410212"))
        yield town


def test_nothing_stands_at_or_after_an_edge_whatever_the_workers_do(town: Town) -> None:
    assert all(town.grows(mailbox(number)) for number in (1, 2, 3))
    receipts = {1: town.revoke(1)}
    assert receipts[1].fenced == ("bus.router.2",)
    pids = [town.children.pid(worker) for worker in WORKERS]
    os.kill(pids[0], signal.SIGSTOP)
    receipts[2] = town.revoke(2, withdraw=True)
    assert "bus.router.0" in receipts[2].fenced
    os.kill(pids[0], signal.SIGCONT)
    for worker in WORKERS:
        town.children.kill(worker)
    receipts[3] = town.revoke(3)
    assert receipts[3].fenced == ("bus.router.0", "bus.router.1", "bus.router.2")
    assert eventually(lambda: len(town.children.revive()) == 2)
    assert town.grows(mailbox(STANDING))
    for number, receipt in receipts.items():
        town.check(mailbox(number), receipt)


def test_a_suspended_mailbox_stands_still_under_traffic_and_resumed_misses_nothing(town: Town) -> None:
    for number in (STANDING, FILTERED):
        settle(town, number, GrantState.SUSPENDED)
    stood = {number: town.ends(mailbox(number)) for number in (STANDING, FILTERED)}
    assert town.grows(SOURCE)
    assert {number: town.ends(mailbox(number)) for number in (STANDING, FILTERED)} == stood
    for number in (STANDING, FILTERED):
        settle(town, number, GrantState.ACTIVE)
        assert town.grows(mailbox(number))
    # What passed them by must have come to them, and once; a bus that flows is judged as it stood at some moment.
    report = check_cluster(town.admin, bytes(32))
    assert [each for each in report.findings if each.kind is not Kind.ACCESS] == []
    assert report.checked[Kind.MISSING] > 0


def test_a_term_that_is_over_lets_nothing_through_and_ends_the_grant_with_nobody_to_trigger_it(town: Town) -> None:
    town.grant(granted(OVER, until="2026-01-31"))
    assert list(watch(town.admin, town.engine, granted(OVER).grant.number, PATIENCE))
    assert town.grows(SOURCE)
    found = read_policy(town.admin).grants[granted(OVER).grant.number]
    assert found.revocation is not None
    assert found.receipt is not None
    assert (found.state, found.revocation.ground) == (GrantState.CLOSED, "term-ended")
    town.check(mailbox(OVER), found.receipt)
    assert sum(town.ends(mailbox(OVER)).values()) == 0


def settle(town: Town, number: int, state: GrantState) -> None:
    """Let a grant come into a state."""
    grant = granted(number).grant.number
    if state is GrantState.SUSPENDED:
        town.queue(Suspended(grant=grant, ground="misuse", correct_by=date(2099, 12, 31), decided_by="gongan"))
    else:
        town.queue(Resumed(grant=grant, decided_by="gongan"))
    assert list(watch(town.admin, town.engine, grant, PATIENCE, state))
