"""`bianhe bench router`: the router against programs that write the same bytes and do nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from bianhe.infra.bench.city import PARTITIONS, WORKERS, a_city, source_values
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, middle
from bianhe.infra.bench.race import Race

ROUTER: Final = "router"
VIEWS: Final = (1, 5, 20, 50)
Rounds = dict[tuple[str, int], list[Figure]]
Told = Callable[[str], None]


def race(folder: Path, deliveries: int, rounds: int, told: Told) -> dict[str, Any]:
    """Run all contestants in turn, a warm-up round and then `rounds`; returns figures, ratios and conditions."""
    values, measured = source_values(), Rounds()
    with a_city(folder, VIEWS) as city:
        one = Race(city, values, lambda views: _records(deliveries, views))
        one.prepare(list(Kind), VIEWS)
        for number in range(rounds + 1):
            for name, views, run in _contests(one):
                figure = run()
                told(f"round {number} of {rounds}  {name}, {views} views: {figure.rate:,.0f}/s")
                if number:
                    measured.setdefault((name, views), []).append(figure)
    medians = {contest: middle(figures) for contest, figures in measured.items()}
    return {
        "figures": [{"contestant": name, "views": views, **asdict(one)} for (name, views), one in medians.items()],
        "ratios": ratios(medians),
        "conditions": {
            "deliveries": deliveries,
            "rounds": f"{rounds}, after one that is thrown away; medians",
            "partitions": PARTITIONS,
            "workers": WORKERS,
            "record_bytes": round(sum(map(len, values)) / len(values)),
        },
    }


def _records(deliveries: int, views: int) -> int:
    """How many source records a round has: with one view they cost the most, and a quarter is enough."""
    return max(deliveries // max(views, 4) // PARTITIONS, 1) * PARTITIONS


def _contests(one: Race) -> Iterator[tuple[str, int, Callable[[], Figure]]]:
    for views in VIEWS:
        yield ROUTER, views, partial(one.router, views)
        for kind in _rivals(views):
            yield kind.value, views, partial(one.contestant, kind, views)


def _rivals(views: int) -> Sequence[Kind]:
    """Whom the router meets at so many views."""
    match views:
        case 1:
            return (Kind.WRITER, Kind.COPIER)
        case 5:
            return (Kind.WRITER, Kind.PLAIN_WRITER, Kind.KERNEL)
        case 20:
            return (Kind.WRITER,)
    return ()


def ratios(medians: dict[tuple[str, int], Figure]) -> dict[str, float]:
    """What the figures say of each other; 1.0 is as fast, above it faster, except that growth is of cost."""

    def rate(name: str, views: int) -> float:
        return medians[name, views].rate

    def cost(views: int) -> float:
        return medians[ROUTER, views].client_us

    found = {
        "router_n1_to_copier": rate(ROUTER, 1) / rate(Kind.COPIER, 1),
        "router_n5_to_writer": rate(ROUTER, 5) / rate(Kind.WRITER, 5),
        "router_n20_to_writer": rate(ROUTER, 20) / rate(Kind.WRITER, 20),
        "router_n5_to_kernel_and_produce": rate(ROUTER, 5) / rate(Kind.KERNEL, 5),
        "exactly_once_n5": rate(Kind.WRITER, 5) / rate(Kind.PLAIN_WRITER, 5),
        "cpu_growth_views_5_to_50": cost(50) / cost(5),
    }
    return {name: round(value, 3) for name, value in found.items()}
