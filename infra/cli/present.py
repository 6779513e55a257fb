"""The present of a bus: what its processes tell of themselves, how far router and subscribers are, what is amiss."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.policy import Policy

_SCRAPE_SECONDS: Final = 2.0
Place = tuple[str, int]


class Sample(NamedTuple):
    """One number that a process tells."""

    process: str
    name: str
    labels: Mapping[str, str]
    value: float


Numbers = Mapping[str, Sequence[Sample]]
"""What the processes tell, by name."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine, or where one was that does not answer any more."""

    process: str
    answers: bool
    cpu_seconds: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A source topic: the router's position against the log's end, rates, and when the last event was."""

    source: str
    end: int
    position: int
    behind: int
    events_per_second: float | None = None
    deliveries_per_second: float | None = None
    events_last_hour: int | None = None
    age_seconds: int | None = None
    cycle_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A client of a department: how many records delivered to it wait."""

    group: str
    topics: int
    behind: int


@dataclass(frozen=True, slots=True)
class Offsets:
    """Ends of the topics, and the committed positions of each group."""

    ends: Mapping[Place, int]
    positions: Mapping[str, Mapping[Place, int]]


def scrape(home: Path) -> tuple[list[Process], list[Sample]]:
    """Ask every process that wrote down where it tells its metrics."""
    processes, samples = [], []
    for file in sorted((home / "metrics").glob("*.json")):
        [target] = json.loads(file.read_text(encoding="utf-8"))
        name = target["labels"]["process"]
        told = _told(name, target["targets"][0])
        samples += told
        numbers = {sample.name: sample.value for sample in told if not sample.labels}
        # Another process may have the port by now.
        if not any(sample.name == "bianhe_process" and sample.labels["process"] == name for sample in told):
            processes.append(Process(name, False))
            continue
        memory = numbers.get("process_resident_memory_bytes")
        cpu = numbers.get("process_cpu_seconds_total")
        processes.append(Process(name, True, cpu and round(cpu, 1), memory and round(memory / 1e6, 1)))
    return processes, samples


def _told(process: str, address: str) -> list[Sample]:
    try:
        text = httpx2.get(f"http://{address}/metrics", timeout=_SCRAPE_SECONDS).text
        families = list(text_string_to_metric_families(text))
    except (httpx2.HTTPError, ValueError):
        return []
    return [Sample(process, each.name, each.labels, each.value) for family in families for each in family.samples]


def offsets(connection: Connection, policy: Policy) -> Offsets:
    """How far everything is; needs the administrator's account."""
    groups = [names.ROUTER_GROUP, *(group for group, _ in _clients(policy))]
    topics = [
        *map(_source, policy.resources),
        *policy.open_channels,
        *{grant.topic for grant in policy.grants.values()},
    ]
    with Admin(connection) as admin:
        return Offsets(admin.ends(topics), admin.group_offsets(*groups))


def alerts(connection: Connection) -> list[dict[str, Any]] | None:
    """What the monitors have raised and not ended; None where they never ran."""
    raised: dict[bytes | None, bytes | None] = {}
    with Admin(connection) as admin:
        partitions = [partition for _, partition in admin.ends([names.ALERTS])]
    if not partitions:
        return None
    for partition in sorted(partitions):
        with LogReader(connection, names.ALERTS, partition, group=names.ADMIN_ACCOUNT) as reader:
            raised |= {record.key: record.value for record in reader.read_to_end()}
    return [json.loads(value) for _, value in sorted(raised.items(), key=str) if value is not None]


def sources(
    policy: Policy, known: Offsets, before: Iterable[Sample], after: Sequence[Sample], seconds: float
) -> list[Source]:
    """Each source topic; rates are what the counters grew in so many seconds."""
    ends, then, now = _by_topic(known.ends), _by_name(before), _by_name(after)
    positions = known.positions[names.ROUTER_GROUP]
    return [
        _source_now(key, ends.get(_source(key), {}), positions, then, now, seconds) for key in sorted(policy.resources)
    ]


def _source_now(
    key: tuple[str, int],
    ends: Mapping[Place, int],
    positions: Mapping[Place, int],
    before: Numbers,
    after: Numbers,
    seconds: float,
) -> Source:
    topic, resource = _source(key), key[0]

    def rate(name: str) -> float | None:
        then, now = _sum(before, name, source=topic), _sum(after, name, source=topic)
        # A worker that was started anew counts from 0.
        return None if now is None or seconds <= 0 else round(max(now - (then or 0.0), 0.0) / seconds, 1)

    return Source(
        source=topic,
        end=sum(ends.values()),
        position=sum(positions.get(place, 0) for place in ends),
        behind=_behind(ends, positions),
        events_per_second=rate("bianhe_router_events_total"),
        deliveries_per_second=rate("bianhe_router_deliveries_total"),
        events_last_hour=_whole(_sum(after, "bianhe_monitor_hour_events", resource=resource)),
        age_seconds=_whole(_sum(after, "bianhe_monitor_age_seconds", resource=resource)),
        cycle_seconds=_whole(_sum(after, "bianhe_monitor_cycle_seconds", resource=resource)),
    )


def readings(policy: Policy, known: Offsets) -> list[Reading]:
    """Each client that may read something, with what waits for it; one that never read has all of it before it."""
    found, topics, by_topic = [], dict[str, list[str]](), _by_topic(known.ends)
    for topic, department in policy.carriers:
        topics.setdefault(department, []).append(topic)
    for group, department in _clients(policy):
        if readable := topics.get(department):
            # Behind the last record lies the marker of its transaction, which nobody is sent.
            ends = {place: end - 1 for topic in readable for place, end in by_topic.get(topic, {}).items()}
            found.append(Reading(group, len(readable), _behind(ends, known.positions[group])))
    return sorted(found, key=lambda reading: (-reading.behind, reading.group))


def _behind(ends: Mapping[Place, int], positions: Mapping[Place, int]) -> int:
    return sum(max(end - positions.get(place, 0), 0) for place, end in ends.items())


def _clients(policy: Policy) -> Collection[tuple[str, str]]:
    return [
        (names.group(department.code, client), department.code)
        for department in policy.departments.values()
        if department.enabled
        for client in department.clients
    ]


def _source(key: tuple[str, int]) -> str:
    return names.source_topic(*key)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _by_topic(ends: Mapping[Place, int]) -> dict[str, dict[Place, int]]:
    found: dict[str, dict[Place, int]] = {}
    for place, end in ends.items():
        found.setdefault(place[0], {})[place] = end
    return found


def _by_name(samples: Iterable[Sample]) -> Numbers:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    return found


def _sum(numbers: Numbers, name: str, **labels: str) -> float | None:
    """Over all processes; None where none tells it."""
    values = [each.value for each in numbers.get(name, ()) if labels.items() <= each.labels.items()]
    return sum(values) if values else None
