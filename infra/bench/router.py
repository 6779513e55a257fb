"""`bianhe bench router`: the router against programs that write the same bytes and do nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from bianhe.infra.bench.city import PARTITIONS, WORKERS, a_city, source, source_values
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, Sample, middle
from bianhe.infra.bench.race import Race, Run, Told, records_for, rounds_of

ROUTER: Final = "router"
VIEWS: Final = (1, 5, 20, 50)
RIVALS: Final = ((Kind.COPIER, 1), (Kind.WRITER, 20), (Kind.PLAIN_WRITER, 5), (Kind.WRITER, 5))
"""Whom the router meets, and at how many views."""
FURTHER: Final = ((Kind.KERNEL, 5), (Kind.C_WRITER, 5), (Kind.C_WRITER, 20))
"""Whom it meets where there is time."""


class Contest(NamedTuple):
    """Who runs, and at how many views."""

    name: str
    views: int

    def __str__(self) -> str:
        return f"{self.name}, {self.views} views"


def race(folder: Path, deliveries: int, rounds: int, quick: bool, told: Told) -> dict[str, Any]:
    """Run all contestants in turn, a warm-up round and then `rounds`; returns figures, ratios and conditions.

    `quick` leaves out who is met for comparison alone, and warms up with half a round, the router at its start.
    """
    told("a broker, and topics for all")
    values, rivals = source_values(), RIVALS if quick else RIVALS + FURTHER
    with a_city(folder, [source(views) for views in VIEWS]) as city:
        one = Race(city, values, lambda views: records_for(deliveries, views), warm_up=0.25 if quick else 0.1)
        for kind, views in rivals:
            one.prepare(kind, views)
        half = replace(one, records=lambda views: records_for(deliveries // 2, views))
        routed = partial(one.routers, {Contest(ROUTER, views): [source(views)] for views in VIEWS})
        # A copier needs what the router was filled with.
        writers = [rival for rival in rivals if rival[0] is not Kind.COPIER]
        warm_up = _meetings(half, writers) if quick else None
        measured = rounds_of([routed, *_meetings(one, rivals)], rounds, told, warm_up)
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


def _meetings(one: Race, rivals: Sequence[tuple[Kind, int]]) -> list[Run[Contest]]:
    return [partial(_met, one, kind, views) for kind, views in rivals]


def _met(one: Race, kind: Kind, views: int) -> Iterator[tuple[Contest, list[Sample]]]:
    yield Contest(kind.value, views), one.contestant(kind, views)


def ratios(medians: Mapping[Contest, Figure]) -> dict[str, float]:
    """What the figures say of each other; 1.0 is as fast, above it faster, except that growth is of cost."""

    def cost(views: int) -> float:
        return medians[Contest(ROUTER, views)].client_us

    pairs = {
        "router_n1_to_copier": (ROUTER, Kind.COPIER, 1),
        "router_n5_to_writer": (ROUTER, Kind.WRITER, 5),
        "router_n20_to_writer": (ROUTER, Kind.WRITER, 20),
        "router_n5_to_kernel_and_produce": (ROUTER, Kind.KERNEL, 5),
        "router_n5_to_c_writer": (ROUTER, Kind.C_WRITER, 5),
        "router_n20_to_c_writer": (ROUTER, Kind.C_WRITER, 20),
        "exactly_once_n5": (Kind.WRITER, Kind.PLAIN_WRITER, 5),
    }
    found = {
        name: medians[Contest(one, views)].rate / medians[Contest(other, views)].rate
        for name, (one, other, views) in pairs.items()
        if Contest(other, views) in medians
    }
    found["cpu_growth_views_5_to_50"] = cost(50) / cost(5)
    return {name: round(value, 3) for name, value in found.items()}
