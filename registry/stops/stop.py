"""Stopping at once (break-glass), and what a second person does about it within a working day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from bianhe.registry.clocks.working_days import Calendar, Deadline, due
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import Policy, Stop
from bianhe.schemas.records.policy import Lifted, Ratified, Stopped, Target

ANSWER_DAYS: Final = 1
"""Working days for a second person to ratify or lift a stop."""


class NoStop(Rejected):
    """What cannot be stopped, ratified or lifted as things stand."""


@dataclass(frozen=True, slots=True)
class StopInForce:
    """A stop in force; until a second person has ratified it, it is due."""

    stop: Stop
    due: Deadline

    @property
    def ratified(self) -> bool:
        return self.stop.ratified is not None

    def overdue(self, today: date) -> bool:
        return not self.ratified and today > self.due.day


def in_force(policy: Policy, calendar: Calendar) -> Iterator[StopInForce]:
    """Every stop in force, the oldest first."""
    for stop in sorted(policy.stops.values(), key=lambda each: each.since):
        yield StopInForce(stop, due(stop.since.at.astimezone(CITY_TIME).date(), ANSWER_DAYS, calendar))


def new_stop(policy: Policy, target: Target, code: str, reason: str, by: str) -> Stopped:
    """The stop of a department or resource that is there; raises NoStop. One that is stopped already stays so."""
    known = policy.departments if target is Target.DEPARTMENT else {each.code for each in policy.resources.values()}
    if code not in known:
        raise NoStop(f"there is no {target} {code} on the policy log", cure="bianhe catalog show lists them")
    if policy.is_stopped(target, code):
        raise NoStop(f"{target} {code} is stopped already", cure="bianhe stop list shows since when, and by whom")
    if not reason.strip() or not by.strip():
        raise NoStop("a stop needs a reason and a name", cure="say --reason and --by: a second person will ask")
    return Stopped(target=target, code=code, reason=reason.strip(), decided_by=by.strip())


def ratify(policy: Policy, target: Target, code: str, by: str) -> Ratified:
    """A second person stands by a stop; raises NoStop."""
    _by_a_second(policy, target, code, by)
    return Ratified(target=target, code=code, decided_by=by)


def lift(policy: Policy, target: Target, code: str, by: str) -> Lifted:
    """A second person ends a stop; raises NoStop."""
    _by_a_second(policy, target, code, by)
    return Lifted(target=target, code=code, decided_by=by)


def _by_a_second(policy: Policy, target: Target, code: str, by: str) -> None:
    stop = policy.stops.get((target, code))
    if stop is None:
        raise NoStop(f"{target} {code} is not stopped", cure="bianhe stop list shows what is")
    if by.strip() in ("", stop.stopped.decided_by):
        raise NoStop(
            f"{target} {code} was stopped by {stop.stopped.decided_by}: a second person ratifies or lifts it",
            cure="let somebody else decide: --by",
        )
