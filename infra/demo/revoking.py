"""A grant that is revoked while events flow: its edge, and that nothing of it lies behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Final

from bianhe.infra import clock
from bianhe.infra.demo import tasks
from bianhe.infra.demo.progress import Journal
from bianhe.infra.demo.recount import Difference, Recount, Tally, differences
from bianhe.infra.demo.stage import Stage
from bianhe.infra.kafka.admin import Admin
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation.kafka import gather, watch
from bianhe.registry.revocation.lines import line
from bianhe.registry.revocation.receipt import Check, verify
from bianhe.registry.revocation.step import Done
from bianhe.registry.sharing import sql
from bianhe.schemas import names
from bianhe.schemas.errors import Transient

GROUND: Final = "purpose-met"
REFUSED: Final = "TOPIC_AUTHORIZATION_FAILED"
PAUSE_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 60.0
BEFORE: Final = 100
"""How many of the later events are routed before the decision."""
_POLL_SECONDS: Final = 0.02


class TrafficStopped(Transient):
    """The events that were to flow during the revocation do not flow."""


@dataclass
class Revoked:
    """What a revocation showed."""

    grant: str
    topic: str
    steps: list[str]
    seconds: float
    """From the decision until the access rules were gone."""
    receipt: str
    checks: list[Check]
    """Its statements against Kafka and the policy log, when all later events had been routed."""
    edge: Mapping[int, int]
    ends: Mapping[int, int]
    """Where the topic ended when all later events had been routed."""
    written: int
    received: int
    later: int
    after: int
    """How many of the later events the router took when nothing went to the revoked topic any more."""
    differences: list[Difference]


def revoke_under_traffic(
    stage: Stage,
    pool: Pool,
    journal: Journal,
    readings: Mapping[str, tasks.Reading],
    recounts: dict[str, Recount],
    whose: tuple[str, str],
) -> Revoked:
    """Revoke a department's grant on a resource while its provider publishes on, and recount what everybody got."""
    department, code = whose
    row, source = stage.grant_on(department, code), names.source_topic(code, 1)
    provider = stage.catalog.resource[code].provider
    papers, already = stage.papers, journal.routed[source]
    reading = pool.apply_async(tasks.read_until_refused, (papers.profile(department), readings[department], code))
    publishing = pool.apply_async(
        tasks.publish, (papers.profile(provider), code, papers.later_rows(code), PAUSE_SECONDS)
    )
    _await_routed(journal, source, already + BEFORE)
    decided = time.monotonic()
    number = row.grant.number
    sql.revoke(stage.database, number, GROUND, provider, clock.now())
    steps = list(watch(stage.admin, stage.database, number, PATIENCE_SECONDS))
    seconds = time.monotonic() - decided
    done = steps[-1]
    assert isinstance(done, Done)
    receipt, edge = done.receipt, {int(partition): end for partition, end in done.receipt.edge.items()}

    later = publishing.get(PATIENCE_SECONDS)
    _await_routed(journal, source, already + later.published)
    ended = reading.get(PATIENCE_SECONDS)
    with Admin(stage.admin) as admin:
        ends = admin.end_offsets(row.topic, "read_uncommitted")
    found = [
        Difference(f"{number} {row.topic}", what, expected, got)
        for what, expected, got in (
            ("log end after the revocation", edge, ends),
            ("answer to reading on", REFUSED, ended.refusal),
        )
        if expected != got
    ]
    checks = verify(receipt, read_policy(stage.admin), gather(stage.admin, receipt))
    found += [Difference(receipt.number, each.what, "holds", each.found) for each in checks if each.holds is False]
    received = ended.tallies.get(row.topic, Tally())
    recount = recounts[code]
    recount.end(row.topic, received.counts)
    recounts[code] = pool.apply(tasks.recount_on, (recount, papers.later_rows(code)))
    found += differences(f"{department} {row.topic}", recounts[code].topics[row.topic], received)
    found += _others(stage, pool, readings, recounts[code], whose)
    return Revoked(
        grant=number,
        topic=row.topic,
        steps=[text for step in steps if (text := line(step))],
        seconds=seconds,
        receipt=receipt.number,
        checks=checks,
        edge=edge,
        ends=ends,
        written=journal.written[row.topic],
        received=received.records,
        later=later.published,
        after=already + later.published - journal.written[row.topic],
        differences=found,
    )


def _others(
    stage: Stage, pool: Pool, readings: Mapping[str, tasks.Reading], recount: Recount, whose: tuple[str, str]
) -> list[Difference]:
    """Nobody else lost anything: the other departments of the resource have every later event."""
    department, code = whose
    topics = {
        row.grant.department: row.topic
        for row in stage.answers.grants
        if row.grant.resource == code and row.grant.department != department
    }
    going_on = [
        pool.apply_async(tasks.read, (stage.papers.profile(other), readings[other], [code])) for other in topics
    ]
    found = []
    for reading in (result.get() for result in going_on):
        topic = topics[reading.department]
        found += differences(f"{reading.department} {topic}", recount.topics[topic], reading.tallies[topic])
    return found


def _await_routed(journal: Journal, source: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while journal.routed[source] < count:
        if time.monotonic() > deadline:
            raise TrafficStopped(f"{journal.routed[source]:,} of {count:,} events of {source} were routed")
        time.sleep(_POLL_SECONDS)
        journal.read()
