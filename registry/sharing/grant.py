"""A grant that was given, and what may be done with it. Decides, touches nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bianhe.registry.sharing.application import Request
from bianhe.schemas import names
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import CITY_TIME, Grant
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Suspended

NOT_CORRECTED: Final = "misuse-not-corrected"


class NothingToWithdraw(Rejected):
    """What was delivered lies where others read it too."""


class CannotChange(Rejected):
    """A grant that another cannot take the place of."""


class NotOverdue(Rejected):
    """Misuse that may still be put right."""


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant as the registry keeps it; `policy` is its number on the policy log, None while it waits for the relay."""

    grant: Grant
    application: str
    digest: str
    topic: str
    state: GrantState
    decided_at: datetime
    policy: int | None
    ground: str | None
    revoked_at: datetime | None
    suspension: Suspended | None


def check_end(row: GrantRow, ground: str, at: datetime, *, withdraw: bool) -> None:
    """Whether a grant may end on this ground now; raises NothingToWithdraw, NotOverdue."""
    number = row.grant.number
    if withdraw and not row.topic.startswith(names.GRANT_PREFIX):
        raise NothingToWithdraw(
            f"{number} reads {row.topic}, which others read too",
            cause="only a mailbox can be emptied",
            cure="revoke it without --withdraw",
        )
    if ground == NOT_CORRECTED and not row.state.ended:
        _check_overdue(row, at)


def check_change(row: GrantRow, request: Request) -> None:
    """Whether what is applied for may take the place of a grant; raises CannotChange."""
    if (row.grant.department, row.grant.resource) != (request.department, request.resource):
        raise CannotChange(f"{request.changes} is not {request.department}'s on {request.resource}")
    if row.state is not GrantState.ACTIVE:
        raise CannotChange(
            f"{request.changes} is {row.state}",
            cause="only a grant that is in force gives way to another",
            cure="apply without --changes",
        )


def _check_overdue(row: GrantRow, at: datetime) -> None:
    """Misuse ends a grant only after it was suspended, and not put right in time (809 article 27)."""
    number = row.grant.number
    if row.suspension is None:
        raise NotOverdue(
            f"{number} was not suspended",
            cause="misuse is first to be put right (809 article 27)",
            cure=f"bianhe grant suspend {number} --ground misuse --correct-by <date>",
        )
    if at.astimezone(CITY_TIME).date() <= row.suspension.correct_by:
        raise NotOverdue(f"{number} may be put right until {row.suspension.correct_by}", cure="wait until then")
