"""Decisions that stop what was granted: suspension, resumption, the end of a term, the end of a department's part."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from bianhe.registry.accounts.sql import forget_password
from bianhe.registry.policy.sql import append, decided, standing_since
from bianhe.registry.sharing.grant import GrantRow
from bianhe.registry.sharing.grounds import ground as known_ground
from bianhe.registry.sharing.sql import Unknown, end, grant_row, grants
from bianhe.registry.sql import deciding
from bianhe.registry.sync.desired import REMOVAL_DAYS
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Department, Resumed, Revoked, Suspended

TERM_ENDED: Final = "term-ended"
THE_TERM: Final = "term"
"""Who decides that a grant ends with its term: nobody else has to."""


class CannotSuspend(Rejected):
    """A grant that has ended, or a date that has passed."""


class CannotResume(Rejected):
    """A grant that does not stand still, or has for too long."""


def suspend(engine: Engine, number: str, ground: str, correct_by: date, by: str, at: datetime) -> GrantRow:
    """Let a grant stand still until what is wrong is put right. Raises Unknown, UnknownGround, CannotSuspend."""
    reason = known_ground(ground, "suspend")
    if correct_by < at.astimezone(CITY_TIME).date():
        raise CannotSuspend(f"{correct_by} has passed", cure="give a day by which it can be put right")
    with deciding(engine) as connection:
        row = grant_row(connection, number)
        if row.state.ended:
            raise CannotSuspend(f"{number} has ended", cure=f"bianhe grant show {number}")
        body = Suspended(grant=number, ground=reason.code, correct_by=correct_by, decided_by=by)
        if row.suspension is None or row.suspension.correct_by != correct_by:
            append(connection, [body], at)
        return grant_row(connection, number)


def resume(engine: Engine, number: str, by: str, at: datetime) -> GrantRow:
    """Let a suspended grant go on from where it stood still. Raises Unknown, CannotResume.

    After so long that removals may have been compacted away the subscriber could not learn of them any more.
    """
    with deciding(engine) as connection:
        row = grant_row(connection, number)
        if row.state is not GrantState.SUSPENDED:
            raise CannotResume(f"{number} is {row.state}", cure=f"bianhe grant show {number}")
        suspended_at = standing_since(connection, number)
        if at - suspended_at > timedelta(days=REMOVAL_DAYS):
            raise CannotResume(
                f"{number} has stood still since {suspended_at:%Y-%m-%d}",
                cause=f"after {REMOVAL_DAYS} days removals are forgotten, and it would keep what is no more",
                cure="revoke it and apply again: a new grant begins with a first load",
            )
        append(connection, [Resumed(grant=number, decided_by=by)], at)
        return grant_row(connection, number)


def expire(engine: Engine, number: str, at: datetime) -> None:
    """End a grant whose term is over; it need not be in this database, which may be an older backup."""
    with deciding(engine) as connection:
        if all(body.grant != number for body in decided(connection, Revoked, naming=number)):
            end(connection, Revoked(grant=number, ground=TERM_ENDED, decided_by=THE_TERM), at)


def disable(engine: Engine, code: str, ground: str, by: str, at: datetime) -> list[GrantRow]:
    """End every grant of a department and disable its account; returns the grants. Raises UnknownGround, Unknown."""
    reason = known_ground(ground)
    running = [row for row in grants(engine, department=code) if row.state is not GrantState.CLOSED]
    with deciding(engine) as connection:
        known = [body for body in decided(connection, Department, naming=code) if body.code == code]
        if not known:
            raise Unknown(f"{code} is no department of the catalog", cure="bianhe account list")
        for row in running:
            if not grant_row(connection, row.grant.number).state.ended:
                end(connection, Revoked(grant=row.grant.number, ground=reason.code, decided_by=by), at)
        if known[-1].enabled:
            append(connection, [known[-1].model_copy(update={"enabled": False})], at)
        forget_password(connection, code)
    return running


def enable(engine: Engine, code: str, at: datetime) -> None:
    """Enable a department's account again; its grants stay ended. Raises Unknown."""
    with deciding(engine) as connection:
        known = [body for body in decided(connection, Department, naming=code) if body.code == code]
        if not known:
            raise Unknown(f"{code} is no department of the catalog", cure="bianhe account list")
        if not known[-1].enabled:
            append(connection, [known[-1].model_copy(update={"enabled": True})], at)
