"""The decisions of a simulated city: a few grants whose shape follows from their number, so plans compile once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Final

from simulation.memory import RECORDS, RELAY, Remembered

from bianhe.consumers.router.limits import Limits
from bianhe.schemas.names import mailbox, router_transactional_id
from bianhe.schemas.records.policy import (
    GENESIS,
    Body,
    Effective,
    Granted,
    Lifted,
    PolicyRecord,
    Released,
    Resumed,
    Revoked,
    Stopped,
    Suspended,
    Target,
)
from support.policy_bodies import OPEN, channel, granted, population, writers
from support.records import person

PARTITIONS: Final = 2
WORKERS: Final = 2
GRANTS_MAX: Final = 4
LIMITS: Final = Limits(records_per_fetch=4, events_max=6, quarantine_max=2, quarantine_window=12)
ROOMY: Final = replace(LIMITS, records_per_fetch=100, events_max=1000)
RESOURCE: Final = "population"
UNTIL: Final = "2026-11-20"
TERM_STEP: Final = 20_000
_AT = datetime(2026, 11, 18, tzinfo=UTC)
_SHAPES: Final = (
    ("residence_division prefix 410212", (), "2027-12-31"),
    ("", ("name=first:1",), "2027-12-31"),
    ("residence_division = 410202", ("citizen_id=pseudonym",), UNTIL),
    ("", ("citizen_id=first:6", "name=null"), "2027-12-31"),
)
BEGINNING: Final[Sequence[Body]] = (writers(WORKERS), population(PARTITIONS), channel())


def a_grant(number: int) -> Granted:
    """The grant of a number."""
    first = granted(*_SHAPES[number % len(_SHAPES)])
    grant = first.grant.model_copy(update={"number": f"G-2026-{number:04}"})
    topic = mailbox("renshe", "population", 1, grant.number)
    return first.model_copy(update={"grant": grant, "digest": grant.digest, "topic": topic, "schema_id": 1000 + number})


GRANTS: Final = [a_grant(number) for number in range(1, GRANTS_MAX + 1)]
MILLIS: Final = min(each.grant.until_millis for each in GRANTS) - 6 * TERM_STEP
"""When a history begins: soon before the first term ends."""
DIVISIONS: Final = ("410212", "410202")
SOUND: Final = {person(residence_division=division): division for division in DIVISIONS}
_written: Final = {signed: Remembered[tuple[str, Body] | None, tuple[bytes, str]]() for signed in (True, False)}
"""A record and its hash, by what it follows and says; an offset is of one history alone."""


class PolicyLog:
    """What was decided so far, signed where somebody looks at signatures: that takes longer than the rest of it."""

    def __init__(self, signed: bool) -> None:
        self._signed = signed
        self._written = _written[signed]
        self.version = 0
        self._head = GENESIS
        self.open: list[Granted] = []
        self.given: list[Granted] = []
        self.spans: dict[str, tuple[int, int | None, Mapping[str, int] | None]] = {}
        """Of each grant the version that began it, the one that revoked it, and its edge."""
        self.releases = {partition: dict[int, int]() for partition in range(PARTITIONS)}
        """Of each partition, by the offset at which it stood still, before which one all that is bad is let pass."""
        self.halts: dict[str, list[tuple[int, int | None]]] = {}
        """Of each grant, and of the resource, from which version to before which one it stood still."""

    @property
    def topics(self) -> list[str]:
        return [OPEN, *(each.topic for each in self.given)]

    def append(self, body: Body) -> bytes:
        """The record of the next number."""
        self.version += 1
        following = None if isinstance(body, Effective | Released) else (self._head, body)
        known = self._written.get(following)
        if known is None:
            record = PolicyRecord(number=self.version, previous=self._head, id=f"id-{self.version}", at=_AT, body=body)
            if self._signed:
                record = RELAY.sign(record)
            known = record.encode(), record.hash
            RECORDS[known[0]] = record
            if following is not None:
                self._written[following] = known
        value, self._head = known
        self._note(body)
        return value

    def _note(self, body: Body) -> None:
        match body:
            case Granted(grant=grant):
                self.spans[grant.number] = self.version, None, None
            case Revoked(grant=number):
                self.spans[number] = self.spans[number][0], self.version, None
            case Effective(grant=number, edge=edge):
                self.spans[number] = *self.spans[number][:2], edge
            case Suspended(grant=what) | Stopped(code=what):
                self.halts.setdefault(what, []).append((self.version, None))
            case Resumed(grant=what) | Lifted(code=what):
                self.halts[what][-1] = self.halts[what][-1][0], self.version

    def next_grant(self) -> Granted | None:
        """One more mailbox, as long as there is a shape for it."""
        if len(self.given) == GRANTS_MAX:
            return None
        self.given.append(GRANTS[len(self.given)])
        self.open.append(self.given[-1])
        return self.given[-1]

    def next_halt(self, chance: random.Random) -> Body:
        """One more stands still, or goes on: a mailbox by suspension, all of the resource by a stop."""
        what = chance.choice([RESOURCE, *(each.grant.number for each in self.open)])
        if what in self._still:
            return _going_on(what)
        if what == RESOURCE:
            return Stopped(target=Target.RESOURCE, code=RESOURCE, reason="x", decided_by="security")
        return Suspended(grant=what, ground="misuse", correct_by=date(2026, 12, 20), decided_by="security")

    def next_release(self, partition: int, stood: int, end: int) -> Released:
        """An administrator lets go on what stands still."""
        self.releases[partition][stood] = end
        return Released(
            resource=RESOURCE, version=1, before={str(partition): end}, reason="published rightly", decided_by="ops"
        )

    def going_on(self) -> list[Body]:
        """What lets everything go on that stands still."""
        return [_going_on(what) for what in self._still]

    @property
    def _still(self) -> list[str]:
        return [what for what, spans in self.halts.items() if spans[-1][1] is None]

    def next_revocation(self, chance: random.Random) -> Granted | None:
        """A mailbox that is not revoked yet."""
        return self.open.pop(chance.randrange(len(self.open))) if self.open else None


@dataclass
class Revoking:
    """A revocation on its way."""

    grant: Granted
    version: int
    waits_for: set[str] = field(default_factory=lambda: {router_transactional_id(n) for n in range(WORKERS)})


def _going_on(what: str) -> Body:
    if what == RESOURCE:
        return Lifted(target=Target.RESOURCE, code=RESOURCE, decided_by="audit")
    return Resumed(grant=what, decided_by="security")


def revoked(grant: Granted) -> Revoked:
    return Revoked(grant=grant.grant.number, ground="purpose-met", decided_by="security")
