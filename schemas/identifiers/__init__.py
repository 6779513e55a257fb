"""Identifiers whose form can be checked: of citizens, organisations and licences.

Every module has the same face: `fault(text)` says in one sentence what is wrong (None if nothing is), and `make(…)`
completes the check digits of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from bianhe.schemas.identifiers import citizen_id, licence_id, uscc

CHECKS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "citizen-id": citizen_id.fault,
    "uscc": uscc.fault,
    "licence-id": licence_id.fault,
}
"""The checks that a contract's items can name in their property `check`."""


def looks_like_citizen_id(key: str, today: date) -> bool:
    """Whether a key on the bus would be somebody's identity number, in capitals or not (law 15)."""
    return citizen_id.fault(key.upper(), today) is None
