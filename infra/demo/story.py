"""The story that `bianhe demo` tells, step by step, and the comparison of every number with the recount."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Final

from bianhe.consumers.checker.findings import Kind, Report, Verdict
from bianhe.consumers.checker.kafka import check_cluster
from bianhe.infra.demo import attempts, tasks
from bianhe.infra.demo.drift import Drift, drift
from bianhe.infra.demo.files import Papers, write_rows
from bianhe.infra.demo.progress import Journal
from bianhe.infra.demo.recount import Difference, Recount, Tally, differences
from bianhe.infra.demo.revoking import Revoked, revoke_under_traffic
from bianhe.infra.demo.screens import NOTICE, Screen
from bianhe.infra.demo.stage import RunningBus, Stage, recount_facts, set_up
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.processes import worker_pool
from bianhe.producers.synthetic.history import story_citizen
from bianhe.registry.accounts.kafka import lent
from bianhe.schemas import names
from bianhe.schemas.errors import Transient

RESOURCES: Final = ("population", "legal-entity", "geospatial", "licence")
OUTSIDER: Final = "shangwu"
"""Was refused 人口, and has no grant on it."""
INTRUDER: Final = "shichang"
"""A provider: an account that may write nowhere is refused before it can name a topic."""
VICTIM: Final = "renshe"
REVOKED: Final = ("tongji", "legal-entity")
POPULATION_CHANNEL: Final = names.open_topic("population", 1, 1)
LATER_EVENTS: Final = 400
"""How many events flow on while the grant is revoked."""
STILL_SECONDS: Final = 60.0
SLOW_SECONDS: Final = 600.0
"""How long a department may take to read all that it is sent."""
_PROCESSES: Final = 4
_POLL_SECONDS: Final = 0.2


class StandsStill(Transient):
    """Nothing is routed any more."""


@dataclass
class Flow:
    """What was published, routed, received and recounted."""

    published: list[tasks.Published]
    recounts: dict[str, Recount]
    readings: dict[str, tasks.Reading] = field(default_factory=dict)
    routed: int = 0
    written: Mapping[str, int] = field(default_factory=dict)
    kept_back: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0

    @property
    def expected(self) -> dict[str, Tally]:
        return {topic: tally for one in self.recounts.values() for topic, tally in one.topics.items()}

    def topic_of(self, grant: str) -> str:
        return next(one.topic_of[grant] for one in self.recounts.values() if grant in one.topic_of)


@dataclass
class Outcome:
    """What the demo ends with; no difference means that every number is what the recount expects."""

    flow: Flow
    answers: list[attempts.Answer]
    revoked: Revoked
    drift: Drift
    judged: Report
    differences: list[Difference]

    @property
    def succeeded(self) -> bool:
        return not self.differences


def tell(bus: RunningBus, folder: Path, events: int, seed: int, screen: Screen) -> Outcome:
    """Tell the whole story on a fresh bus. Raises what stands in the way, after which nothing is claimed."""
    papers = Papers(folder)
    tasks.log_to(papers.log)
    with worker_pool(_PROCESSES, tasks.log_to, papers.log) as pool:
        files = [pool.apply_async(write_rows, _city(papers, resource, events, seed)) for resource in RESOURCES]
        stage = set_up(bus, papers, screen.told)
        for file in files:
            file.get()
        with Journal(stage.admin, _partitions(stage, names.JOURNAL)) as journal:
            flow = publish_and_route(stage, pool, journal, events, screen)
            key = story_key(stage, flow, seed)
            flow.readings = read_all(stage, pool, key, screen)
            found = compare(
                flow, {one: [row.grant.number for row in stage.grants_of(one)] for one in flow.readings}, events
            )
            screen.table(stage, flow.readings, flow.written, flow.kept_back, len(found))
            outside = attempts.read_topic(stage.connection(OUTSIDER), POPULATION_CHANNEL, names.group(OUTSIDER, "main"))
            screen.story(stage, flow.readings, OUTSIDER, outside.answer)
            answers = refused_attempts(stage)
            screen.refusals(answers)
            revoked = revoke_under_traffic(stage, pool, journal, flow.readings, flow.recounts, REVOKED)
            screen.revocation(revoked)
        drifted = drift(stage, OUTSIDER, POPULATION_CHANNEL)
        screen.drift(drifted)
        with lent(stage.admin, names.CHECKER_ACCOUNT) as checker:
            judged = check_cluster(checker, stage.pseudonym_key)
        screen.judgement(judged)
    found += _unjudged(judged)
    found += [*_unrefused([outside, *answers]), *revoked.differences, *drifted.differences]
    return Outcome(flow, answers, revoked, drifted, judged, found)


def facts(outcome: Outcome) -> str:
    """The outcome as a JSON document."""
    flow = outcome.flow
    document = {
        "notice": NOTICE,
        "published": {one.resource: one.published for one in flow.published},
        "written": flow.written,
        "kept_back": flow.kept_back,
        "received": {
            code: {topic: tally.records for topic, tally in reading.tallies.items()}
            for code, reading in flow.readings.items()
        },
        "refused": {one.what: one.answer for one in outcome.answers},
        "revoked": {"grant": outcome.revoked.grant, "edge": outcome.revoked.edge, "ends": outcome.revoked.ends},
        "drift": {"rule": outcome.drift.rule, "exit_codes": [code for code, _ in outcome.drift.steps]},
        "judged": {
            "verdict": outcome.judged.verdict,
            "checked": {kind: outcome.judged.checked[kind] for kind in Kind},
        },
        "differences": [str(one) for one in outcome.differences],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def publish_and_route(stage: Stage, pool: Pool, journal: Journal, events: int, screen: Screen) -> Flow:
    """Let the four providers publish their files at once, and wait until the router has taken all of it."""
    papers = stage.papers
    publishing = [
        pool.apply_async(tasks.publish, (papers.profile(resource.provider), code, papers.rows(code)))
        for code, resource in ((code, stage.catalog.resource[code]) for code in RESOURCES)
    ]
    counting = {
        code: pool.apply_async(
            tasks.recount,
            (*recount_facts(stage, code), (stage.key_secrets[code], stage.pseudonym_key), papers.rows(code)),
        )
        for code in RESOURCES
    }
    with screen.flow(events * len(RESOURCES)) as shown, Admin(stage.admin) as admin:
        watch = _Watch(stage, STILL_SECONDS)
        sources = [names.source_topic(code, 1) for code in RESOURCES]
        while True:
            done = all(result.ready() for result in publishing)
            journal.read()
            ends = sum(sum(admin.end_offsets(source, "read_uncommitted").values()) for source in sources)
            routed = sum(journal.routed.values())
            shown(ends, routed, sum(journal.written.values()), sum(journal.kept_back.values()))
            if done and routed >= ends:
                break
            watch.look(ends + routed + sum(result.ready() for result in publishing))
    return Flow(
        published=[result.get() for result in publishing],
        recounts={code: result.get() for code, result in counting.items()},
        routed=routed,
        written=dict(journal.written),
        kept_back=dict(journal.kept_back),
        quarantined=journal.quarantined,
    )


def story_key(stage: Stage, flow: Flow, seed: int) -> str:
    """The entity key of the person of the story."""
    return flow.recounts["population"].key({"citizen_id": story_citizen(seed)})


def read_all(stage: Stage, pool: Pool, key: str, screen: Screen) -> dict[str, tasks.Reading]:
    """Let every department with a grant read all that is there, with its own account."""
    reading = [
        pool.apply_async(tasks.read, (stage.papers.profile(code), tasks.Reading(code), (), key))
        for code in stage.subscribers
    ]
    with screen.reading(len(reading)) as shown:
        watch = _Watch(stage, SLOW_SECONDS)
        while True:
            done = [result.get() for result in reading if result.ready()]
            shown(done)
            if len(done) == len(reading):
                break
            watch.look(len(done))
    return {one.department: one for one in (result.get() for result in reading)}


def compare(flow: Flow, grants: Mapping[str, Collection[str]], events: int) -> list[Difference]:
    """Every number and content digest that is not what the recount expects; `grants` has the numbers by department."""
    found = []
    for one in flow.published:
        if one != (one.resource, events, events, 0):
            found.append(Difference(one.resource, "rows read, published, rejected", (events, events, 0), one[1:]))
    total = events * len(flow.published)
    if flow.routed != total or flow.quarantined:
        found.append(Difference("router", "routed", total, flow.routed))
        found.append(Difference("router", "quarantined", 0, flow.quarantined))
    expected = flow.expected
    for topic in sorted(expected.keys() | flow.written.keys()):
        wanted = expected.get(topic, Tally())
        for what, counted, number in (
            ("written", wanted.records, flow.written.get(topic, 0)),
            ("kept back", wanted.kept_back, flow.kept_back.get(topic, 0)),
        ):
            if counted != number:
                found.append(Difference(topic, what, counted, number))
    for department, reading in flow.readings.items():
        found += _compare_department(
            department, reading.tallies, {flow.topic_of(one) for one in grants[department]}, expected
        )
    return found


def _compare_department(
    department: str, received: Mapping[str, Tally], granted: Collection[str], expected: Mapping[str, Tally]
) -> Iterable[Difference]:
    for topic in sorted({*granted, *received}):
        wanted = expected[topic] if topic in granted else Tally()
        yield from differences(f"{department} {topic}", wanted, received.get(topic, Tally()))


def refused_attempts(stage: Stage) -> list[attempts.Answer]:
    """Let one department try five things that no grant allows."""
    own = next(row for row in stage.grants_of(INTRUDER) if row.topic.startswith(names.GRANT_PREFIX))
    other = next(row for row in stage.grants_of(VICTIM) if row.topic.startswith(names.GRANT_PREFIX))
    return attempts.carry_out(
        stage.connection(INTRUDER),
        own_group=names.group(INTRUDER, "main"),
        own_mailbox=own.topic,
        source=names.source_topic("population", 1),
        others_mailbox=other.topic,
        open_channel=POPULATION_CHANNEL,
        others_group=names.group(VICTIM, "main"),
    )


def _unjudged(report: Report) -> list[Difference]:
    """What keeps the checker from saying that the bus kept its promises."""
    reasons = [*map(str, report.findings), *report.unknown]
    return [Difference("raw logs", "verdict", Verdict.VALID, reason) for reason in reasons]


def _unrefused(answers: Collection[attempts.Answer]) -> list[Difference]:
    return [Difference(one.what, one.name, one.expected, one.answer) for one in answers if not one.refused]


def _city(papers: Papers, resource: str, events: int, seed: int) -> tuple[Path, str, int, int, Path | None, int]:
    later = LATER_EVENTS if resource == REVOKED[1] else 0
    return papers.rows(resource), resource, events, seed, papers.later_rows(resource) if later else None, later


def _partitions(stage: Stage, topic: str) -> int:
    with Admin(stage.admin) as admin:
        return len(admin.end_offsets(topic, "read_uncommitted"))


class _Watch:
    """Waits a moment, starts anew what ended by itself, and gives up where nothing moves."""

    def __init__(self, stage: Stage, patience_seconds: float) -> None:
        self._stage = stage
        self._patience = patience_seconds
        self._state = -1
        self._since = time.monotonic()

    def look(self, state: int) -> None:
        self._stage.bus.children.revive()
        if state != self._state:
            self._state, self._since = state, time.monotonic()
        elif time.monotonic() - self._since > self._patience:
            log = self._stage.bus.children.log("router-0")
            raise StandsStill(f"nothing was routed or read for {self._patience:.0f} s", cure=f"read {log}")
        time.sleep(_POLL_SECONDS)
