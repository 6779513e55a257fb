"""`bianhe bench policy`: what a policy costs to compile, to swap and to enforce, and a revocation under load."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any, Final

from bianhe.consumers.router.plan import compile_plan
from bianhe.infra.bench import large
from bianhe.infra.bench.city import PARTITIONS, WORKERS, City, Source, a_city, source_values
from bianhe.infra.bench.figures import middle
from bianhe.infra.bench.latency import at_rate
from bianhe.infra.bench.race import Race, StoodStill, Told, rounds_of
from bianhe.infra.kafka import raw
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.infra.processes import not_collecting
from bianhe.registry.acknowledgements.kafka import Acknowledgements
from bianhe.schemas import names
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.records.policy import GENESIS, Body, Department, PolicyRecord, Revoked

RATE: Final = 1000
"""Events a second under which the policy changes."""
_CHANGE_SECONDS: Final = 0.5
_VIEWS: Final = 5
_SMALL: Final = 1000
_PATIENCE_SECONDS: Final = 300.0
_AT_ONCE: Final = 1000
_EVENTS: Final = 100_000
Row = dict[str, Any]


def measure(folder: Path, grants: int, mailboxes: int, rules: int, seconds: float, told: Told) -> dict[str, Any]:
    """First without a broker, then a router's cold start, then under load; returns figures, ratios, conditions.

    What changes under load is a resource beside the loaded one, so that the load stays what it was.
    """
    told(f"compile {grants} grants, {mailboxes} of them with a mailbox")
    small, whole = compiled(_SMALL, _SMALL // 20), compiled(grants, mailboxes)
    loaded, changing = Source("loaded", _VIEWS), Source("changing", int(seconds / _CHANGE_SECONDS))
    with a_city(folder, [loaded, changing]) as city:
        try:
            cold = _cold_start(city, grants, mailboxes, told)
            swap = _swap(city, loaded, changing, seconds, told)
        finally:
            city.children.stop()
        kept = _rules(city, loaded, rules, told)
    rows = [
        {"what": f"cold start of a worker, {grants} grants", "figure": cold, "unit": "s"},
        {"what": f"decode, fold, compile {grants} grants", "figure": whole["cold_s"], "unit": "s of CPU"},
        {"what": f"one change among {_SMALL} grants", "figure": small["change_ms"], "unit": "ms of CPU"},
        {"what": f"one change among {grants} grants", "figure": whole["change_ms"], "unit": "ms of CPU"},
        *swap,
        *kept,
    ]
    by_name = {row["what"]: row["figure"] for row in rows}
    ratios = {
        f"change_cost_{_SMALL}_to_{grants}_grants": whole["change_ms"] / small["change_ms"],
        "p99_swap_to_before": by_name["p99 while it changes"] / by_name["p99 before"],
        "router_cpu_with_rules": by_name[f"router, {rules} access rules"] / by_name["router, few access rules"],
        "broker_cpu_with_rules": by_name[f"broker, {rules} access rules"] / by_name["broker, few access rules"],
    }
    return {
        "figures": [{**row, "figure": round(row["figure"], 3)} for row in rows],
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "conditions": {
            "events_a_second": RATE,
            "changes_a_second": 1 / _CHANGE_SECONDS,
            "views": _VIEWS,
            "departments": large.DEPARTMENTS,
            "resources": large.RESOURCES,
            "workers": WORKERS,
        },
    }


def compiled(grants: int, mailboxes: int) -> dict[str, float]:
    """CPU of a worker that reads such a policy log from the start, and of one revocation after it."""
    log = list(_log(large.policy_bodies(grants, mailboxes)))
    begun = time.process_time()
    with not_collecting():  # as a worker reads it
        policy = fold(EMPTY, [PolicyRecord.decode(value) for value in log])
        plan = compile_plan(policy, None)
        gc.freeze()
    cold = time.process_time() - begun
    costs = []
    for number in range(min(mailboxes, 20)):
        at, gone = datetime.now(UTC), large_grant(number)
        body = Revoked(grant=gone, ground="purpose-met", decided_by="bench")
        version, head = policy.version, policy.head
        value = PolicyRecord(number=version + 1, previous=head, id=f"r-{number}", at=at, body=body).encode()
        begun = time.process_time()
        policy = fold(policy, [PolicyRecord.decode(value)])
        plan = compile_plan(policy, None, plan)
        plan.delivering_to(frozenset())
        costs.append(time.process_time() - begun)
    return {"cold_s": cold, "change_ms": 1000 * median(costs)}


def large_grant(number: int) -> str:
    """The number of a grant of the large city."""
    return f"G-2026-{number + 1000:04}"


def _log(bodies: Iterator[Body]) -> Iterator[bytes]:
    previous, at = GENESIS, datetime.now(UTC)
    for number, body in enumerate(bodies, 1):
        record = PolicyRecord(number=number, previous=previous, id=f"bench-{number}", at=at, body=body)
        previous = record.hash
        yield record.encode()


def _cold_start(city: City, grants: int, mailboxes: int, told: Told) -> float:
    """Seconds from the start of the processes until each has folded, compiled, swapped in and acknowledged.

    Of the second start: beside the first, a broker that has just made so many topics compiles itself.
    """
    told(f"{grants} grants onto the policy log, {mailboxes + 2 * large.RESOURCES} topics")
    with Admin(city.broker.connection(), timeout=_PATIENCE_SECONDS) as admin:
        topics = large.topics(mailboxes)
        for first in range(0, len(topics), _AT_ONCE):
            admin.create_topics(dict.fromkeys(topics[first : first + _AT_ONCE], Topic(1, {})))
    version = city.decide(large.policy_bodies(grants, mailboxes), synced=False)
    told("cold start")
    _started(city, version)
    city.children.stop()
    return _started(city, city.decide([Department(code="later", title="模拟")], synced=False))


def _started(city: City, version: int) -> float:
    with Acknowledgements(city.broker.connection()) as acknowledgements:
        begun = time.monotonic()
        city.start_router()
        _await(acknowledgements, version)
        return time.monotonic() - begun


def _swap(city: City, loaded: Source, changing: Source, seconds: float, told: Told) -> list[Row]:
    """The latency before and while one mailbox after another is revoked, and when all workers had acknowledged it."""
    values = source_values()
    at_rate(city, values, loaded, RATE, seconds)  # thrown away: a broker that has just started compiles itself
    told(f"{RATE} events a second, as it is")
    before = at_rate(city, values, loaded, RATE, seconds)
    told(f"{RATE} events a second, a revocation every {_CHANGE_SECONDS} s")
    took: list[float] = []
    revoking = Thread(target=_revoke_all_but_one, args=(city, changing, took))
    revoking.start()
    during = at_rate(city, values, loaded, RATE, seconds)
    revoking.join()
    return [
        {"what": "p99 before", "figure": before.p99_ms, "unit": "ms"},
        {"what": "p99 while it changes", "figure": during.p99_ms, "unit": "ms"},
        {"what": "revoked until acknowledged by all, median", "figure": 1000 * median(took), "unit": "ms"},
        {"what": "revoked until acknowledged by all, longest", "figure": 1000 * max(took), "unit": "ms"},
    ]


def _revoke_all_but_one(city: City, changing: Source, took: list[float]) -> None:
    with Acknowledgements(city.broker.connection()) as acknowledgements:
        for gone in changing.grants[1:]:
            begun = time.monotonic()
            body = Revoked(grant=gone.number, ground="purpose-met", decided_by="bench")
            version = city.decide([body], synced=False)
            _await(acknowledgements, version)
            took.append(time.monotonic() - begun)
            time.sleep(max(_CHANGE_SECONDS - took[-1], 0))


def _await(acknowledgements: Acknowledgements, version: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    writers = [names.router_transactional_id(number) for number in range(WORKERS)]
    while any(acknowledgements.of(writer).policy_version < version for writer in writers):
        if time.monotonic() > deadline:
            raise StoodStill(f"policy {version} was not acknowledged in {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.002)


def _rules(city: City, source: Source, rules: int, told: Told) -> list[Row]:
    """The same round of a router, whose account is no super user, before and after so many access rules.

    It routed the whole time before: nothing is warmed up but its own start.
    """
    race = Race(city, source_values(), lambda views: _EVENTS // PARTITIONS * PARTITIONS)
    few, many = "router, few access rules", f"router, {rules} access rules"
    before = middle(rounds_of([partial(race.routers, {few: [source]})], 1, told, [])[few])
    told(f"{rules} access rules")
    made = [
        AccessRule(f"User:large{number % large.DEPARTMENTS:03}", "TOPIC", f"open.rule{number}.v1.r1", "READ")
        for number in range(rules)
    ]
    begun = time.monotonic()
    with Admin(city.broker.connection(), timeout=_PATIENCE_SECONDS) as admin:
        for first in range(0, rules, _AT_ONCE):
            admin.create_rules(made[first : first + _AT_ONCE])
    created = time.monotonic() - begun
    begun = time.monotonic()
    raw.access_rules(city.broker.connection())
    fetched = time.monotonic() - begun
    after = middle(rounds_of([partial(race.routers, {many: [source]})], 1, told, [])[many])
    return [
        {"what": f"{rules} access rules made", "figure": created, "unit": "s"},
        {"what": f"{rules} access rules read from every broker", "figure": fetched, "unit": "s"},
        {"what": few, "figure": before.client_us, "unit": "µs of CPU a delivery"},
        {"what": many, "figure": after.client_us, "unit": "µs of CPU a delivery"},
        {"what": "broker, few access rules", "figure": before.broker_us, "unit": "µs of CPU a delivery"},
        {"what": f"broker, {rules} access rules", "figure": after.broker_us, "unit": "µs of CPU a delivery"},
    ]
