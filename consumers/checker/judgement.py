"""The whole judgement of a bus, partition by partition."""

from __future__ import annotations

from collections.abc import Callable

from bianhe.consumers.checker import access, signing
from bianhe.consumers.checker.bus_records import read_books
from bianhe.consumers.checker.findings import Floor, Kind, Report
from bianhe.consumers.checker.log import Bus, Reading
from bianhe.consumers.checker.processes import Case, WorkerPool, judged
from bianhe.consumers.checker.projection import Secrets
from bianhe.consumers.checker.timeline import Timeline, follow
from bianhe.schemas import names


def check(
    bus: Bus,
    pseudonym_key: bytes | None = None,
    floor: Floor | None = None,
    *,
    policy_keys: str = "",
    pool: WorkerPool | None = None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Judge everything that the bus holds; in memory are policy log, journal and one source partition's holdings.

    `policy_keys` are the public keys (TOML) that whoever asks believes; the bus cannot say them. Each process of
    a pool holds that memory. `told` hears how many source partitions are judged, of how many.
    """
    report = Report()
    policy = Reading(bus, (names.POLICY, 0))
    records = list(policy.committed())
    timeline = follow(records, report)
    signing.judge(records, policy_keys, report)
    if policy.incomplete:
        report.doubt(f"{names.POLICY} is not complete any more")
    books = read_books(bus, report)
    places = [place for place in sorted(bus.extents) if place[0] in timeline.contracts]
    case = Case(bus, timeline, books, Secrets(pseudonym_key))
    for done, part in enumerate(judged(case, places, pool), start=1):
        report.include(part)
        told(done, len(places))
    _judge_strangers(bus, timeline, report)
    access.judge(bus, timeline, report)
    report.hold_to(floor or Floor())
    return report


def _judge_strangers(bus: Bus, timeline: Timeline, report: Report) -> None:
    """A delivery topic that no grant on the log names must hold nothing."""
    for topic, partition in sorted(bus.extents):
        if topic.startswith((names.OPEN_PREFIX, names.GRANT_PREFIX)) and topic not in timeline.feeds:
            for entry, _ in Reading(bus, (topic, partition)).decided():
                report.add(Kind.LEAK, topic, partition, entry.offset, "no grant was ever given this topic")
