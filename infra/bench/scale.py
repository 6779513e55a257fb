"""`bianhe bench scale`: what a delivery costs as views, resources, partitions, workers and grants grow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from bianhe.infra.bench import large
from bianhe.infra.bench.city import PARTITIONS, WORKERS, Source, a_city, source_values
from bianhe.infra.bench.figures import Figure, middle
from bianhe.infra.bench.race import Race, Told, records_for, rounds_of
from bianhe.infra.kafka.admin import Admin, Topic

BASE: Final = "5 views"
MANY_VIEWS: Final = "50 views"
ONE_WORKER: Final = "5 views, one worker"
PARTED: Final = "5 views, 16 partitions"


def grow(folder: Path, deliveries: int, rounds: int, resources: int, grants: int, told: Told) -> dict[str, Any]:
    """Route the same deliveries in differently large cities; returns figures, ratios and conditions."""
    base = Source("base", 5)
    many = [Source(f"many{number:02}", 5) for number in range(resources)]
    spread, governed = f"5 views of each of {resources} resources", f"5 views beside {grants} grants"
    sources = {BASE: [base], MANY_VIEWS: [Source("views", 50)], PARTED: [Source("parted", 5, 16)], spread: many}
    with a_city(folder, [each for group in sources.values() for each in group]) as city:
        race = Race(city, source_values(), lambda views: records_for(deliveries, views))
        runs = [partial(race.routers, sources), partial(race.routers, {ONE_WORKER: [base]}, 1)]
        measured = rounds_of(runs, rounds, told)
        told(f"{grants} grants onto the policy log")
        with Admin(city.broker.connection()) as admin:
            admin.create_topics(dict.fromkeys(large.topics(0), Topic(1, {})))
        city.decide(large.policy_bodies(grants, 0), synced=False)
        measured |= rounds_of([partial(race.routers, {governed: [base]})], rounds, told)
    medians = {name: middle(figures) for name, figures in measured.items()}
    return {
        "figures": [{"city": name, **figure.row()} for name, figure in medians.items()],
        "ratios": _ratios(medians, resources, grants, spread, governed),
        "conditions": {
            "deliveries": deliveries,
            "rounds": f"{rounds}, after one that is thrown away; medians",
            "partitions": PARTITIONS,
            "workers": WORKERS,
        },
    }


def _ratios(medians: Mapping[str, Figure], resources: int, grants: int, spread: str, governed: str) -> dict[str, float]:
    """Growth is of client CPU for each delivery; workers compare deliveries a second."""
    base = medians[BASE]
    growth = {
        "views_5_to_50": MANY_VIEWS,
        "partitions_4_to_16": PARTED,
        f"resources_1_to_{resources}": spread,
        f"grants_0_to_{grants}": governed,
    }
    found = {f"cpu_growth_{name}": medians[city].client_us / base.client_us for name, city in growth.items()}
    found["rate_workers_1_to_2"] = base.rate / medians[ONE_WORKER].rate
    return {name: round(value, 3) for name, value in found.items()}
