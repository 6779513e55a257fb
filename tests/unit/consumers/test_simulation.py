"""The real worker on a simulated cluster: whatever happens in a history, every view comes to what it must be."""

from __future__ import annotations

import logging

import pytest
from simulation.run import findings
from simulation.world import simulated

from bianhe.consumers.router.kafka import writer

HISTORIES = 1000


@pytest.mark.timeout(600)
def test_in_every_simulated_history_each_view_gets_what_it_must_once_and_in_order() -> None:
    with simulated():
        assert [finding for seed in range(HISTORIES) for finding in findings(seed)] == []


def test_the_simulation_finds_what_a_worker_does_that_trusts_a_producer_which_gave_a_request_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sees_nothing(watch: writer.FaultWatch, record: logging.LogRecord) -> None:
        pass

    monkeypatch.setattr(writer.FaultWatch, "emit", sees_nothing)
    with simulated():
        assert any(findings(seed) for seed in range(HISTORIES))
