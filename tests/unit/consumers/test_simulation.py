"""The real worker on a simulated cluster: whatever happens in a history, every view comes to what it must be."""

from __future__ import annotations

import pytest
from simulation.mutations import MUTATIONS
from simulation.patches import simulated
from simulation.run import findings

HISTORIES = 1000


@pytest.mark.timeout(600)
def test_in_every_simulated_history_each_view_gets_what_it_must_once_and_in_order() -> None:
    with simulated():
        assert [finding for seed in range(HISTORIES) for finding in findings(seed)] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", MUTATIONS)
def test_the_simulation_finds_a_broken_router(broken: str) -> None:
    mutation = MUTATIONS[broken]
    assert mutation.found(mutation.seed) is not None
