"""A figure is the slope between two shares of the work, so that neither start nor tail counts."""

from __future__ import annotations

import pytest

from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, Sample, TooShort, figure, middle
from bianhe.infra.bench.router import ROUTER, Contest, ratios


def test_neither_a_slow_start_nor_an_idle_tail_changes_a_figure() -> None:
    steady = [Sample(10 + tick, 1000 * tick, 10 + 0.5 * tick, 20 + 0.25 * tick) for tick in range(21)]
    slow = [Sample(0, 0, 0, 0), *steady, Sample(99, 20_000, 99, 99)]
    assert figure(slow) == Figure(1000, 500, 250)


@pytest.mark.parametrize("samples", [[Sample(0, 0, 0, 0)], [Sample(0, 0, 0, 0), Sample(1, 500, 1, 1)]])
def test_a_round_of_too_few_transactions_gives_no_figure(samples: list[Sample]) -> None:
    with pytest.raises(TooShort):
        figure(samples)


def test_one_odd_round_does_not_move_the_middle() -> None:
    assert middle([Figure(1, 3, 5), Figure(900, 0, 0), Figure(2, 4, 6)]) == Figure(2, 3, 5)


def test_ratios_say_how_fast_the_router_is_and_how_its_cost_grows() -> None:
    half = {Contest(str(name), views): Figure(100, 2, 1) for name in (ROUTER, *Kind) for views in (1, 5, 20, 50)}
    for views in (1, 5, 20):
        half[Contest(ROUTER, views)] = Figure(50, 4, 1)
    assert ratios(half) == {
        "router_n1_to_copier": 0.5,
        "router_n5_to_writer": 0.5,
        "router_n20_to_writer": 0.5,
        "router_n5_to_kernel_and_produce": 0.5,
        "router_n5_to_c_writer": 0.5,
        "router_n20_to_c_writer": 0.5,
        "exactly_once_n5": 1.0,
        "cpu_growth_views_5_to_50": 0.5,
    }
