"""`bianhe bench router`: the router against programs that write the same bytes and do nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from bianhe.infra.bench.city import PARTITIONS, WORKERS, a_city, source, source_values
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, middle
from bianhe.infra.bench.race import Race, Run, Told, records_for, rounds_of

ROUTER: Final = "router"
VIEWS: Final = (1, 5, 20, 50)


class Contest(NamedTuple):
    """Who runs, and at how many views."""

    name: str
    views: int

    def __str__(self) -> str:
        return f"{self.name}, {self.views} views"


def race(folder: Path, deliveries: int, rounds: int, told: Told) -> dict[str, Any]:
    """Run all contestants in turn, a warm-up round and then `rounds`; returns figures, ratios and conditions."""
    values = source_values()
    with a_city(folder, [source(views) for views in VIEWS]) as city:
        one = Race(city, values, lambda views: records_for(deliveries, views))
        one.prepare(list(Kind), VIEWS)
        measured = rounds_of(dict(_contests(one)), rounds, told)
    medians = {contest: middle(figures) for contest, figures in measured.items()}
    return {
        "figures": [{"contestant": name, "views": views, **one.row()} for (name, views), one in medians.items()],
        "ratios": ratios(medians),
        "conditions": {
            "deliveries": deliveries,
            "rounds": f"{rounds}, after one that is thrown away; medians",
            "partitions": PARTITIONS,
            "workers": WORKERS,
            "record_bytes": round(sum(map(len, values)) / len(values)),
        },
    }


def _contests(one: Race) -> Iterator[tuple[Contest, Run]]:
    for views in VIEWS:
        yield Contest(ROUTER, views), partial(one.router, [source(views)])
        for kind in _rivals(views):
            yield Contest(kind.value, views), partial(one.contestant, kind, views)


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


def ratios(medians: Mapping[Contest, Figure]) -> dict[str, float]:
    """What the figures say of each other; 1.0 is as fast, above it faster, except that growth is of cost."""

    def rate(name: str, views: int) -> float:
        return medians[Contest(name, views)].rate

    def cost(views: int) -> float:
        return medians[Contest(ROUTER, views)].client_us

    found = {
        "router_n1_to_copier": rate(ROUTER, 1) / rate(Kind.COPIER, 1),
        "router_n5_to_writer": rate(ROUTER, 5) / rate(Kind.WRITER, 5),
        "router_n20_to_writer": rate(ROUTER, 20) / rate(Kind.WRITER, 20),
        "router_n5_to_kernel_and_produce": rate(ROUTER, 5) / rate(Kind.KERNEL, 5),
        "exactly_once_n5": rate(Kind.WRITER, 5) / rate(Kind.PLAIN_WRITER, 5),
        "cpu_growth_views_5_to_50": cost(50) / cost(5),
    }
    return {name: round(value, 3) for name, value in found.items()}
