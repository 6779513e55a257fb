"""Stopping at once (break-glass), and what a second person does about it within a working day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from bianhe.registry.clocks.working_days import Calendar, Deadline, due
from bianhe.registry.sync.desired import REMOVAL_DAYS
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
        raise NoStop(f"there is no {target} {code} on the policy log", cure=f"there are {', '.join(sorted(known))}")
    if policy.is_stopped(target, code):
        raise NoStop(f"{target} {code} is stopped already", cure="bianhe stop list shows since when, and by whom")
    if not reason.strip() or not by.strip():
        raise NoStop("a stop needs a reason and a name", cure="say --reason and --by: a second person will ask")
    return Stopped(target=target, code=code, reason=reason.strip(), decided_by=by.strip())


def ratify(policy: Policy, target: Target, code: str, by: str) -> Ratified:
    """A second person stands by a stop; raises NoStop."""
    _by_a_second(policy, target, code, by)
    return Ratified(target=target, code=code, decided_by=by)


def lift(policy: Policy, target: Target, code: str, by: str, at: datetime) -> Lifted:
    """A second person ends a stop; raises NoStop.

    After so long that removals may have been compacted away a mailbox that stood still would keep what is no more.
    """
    _by_a_second(policy, target, code, by)
    since = policy.stops[target, code].since.at
    if at - since > timedelta(days=REMOVAL_DAYS) and (mailboxes := sorted(_mailboxes(policy, target, code))):
        raise NoStop(
            f"{', '.join(mailboxes)} stood still since {since:%Y-%m-%d}",
            cause=f"after {REMOVAL_DAYS} days removals are forgotten, and they would keep what is no more",
            cure="revoke them first and let them be applied for again: a new grant begins with a first load",
        )
    return Lifted(target=target, code=code, decided_by=by)


def _mailboxes(policy: Policy, target: Target, code: str) -> Iterator[str]:
    """The grants whose mailboxes a stop holds still."""
    for grants in policy.mailboxes.values():
        for number, each in grants.items():
            if code == (each.grant.department if target is Target.DEPARTMENT else each.grant.resource):
                yield number


def _by_a_second(policy: Policy, target: Target, code: str, by: str) -> None:
    stop = policy.stops.get((target, code))
    if stop is None:
        raise NoStop(f"{target} {code} is not stopped", cure="bianhe stop list shows what is")
    if by.strip() in ("", stop.stopped.decided_by):
        raise NoStop(
            f"{target} {code} was stopped by {stop.stopped.decided_by}: a second person ratifies or lifts it",
            cure="let somebody else decide: --by",
        )
