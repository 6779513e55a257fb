"""How often what happens in one history: each draws rates of its own, some heavy in a fault, some without it.

With one rate for all, faults stand in each other's way: where workers die often no transaction stays open for long.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NamedTuple

_FAULTS: Final[Mapping[str, tuple[float, float, float]]] = {
    "held": (0, 0.06, 0.2),
    "lost": (0, 0.04, 0.15),
    "belied": (0, 0.02, 0.2),
    "unknown": (0, 0.03, 0.12),
    "refused": (0, 0.05, 0.5),
    "crash": (0, 0.004, 0.012),
    "absent": (0, 0.3, 0.8),
    "fenced": (0, 0.2, 0.8),
    "disturbed": (0.02, 0.08, 0.18),
    "stale": (0, 0.1, 0.5),
    "bad": (0, 0.1, 0.6),
    "removed": (0, 0.15, 0.3),
}
"""Each rate where it is low, usual, and high."""
_ACTS: Final[Mapping[str, tuple[float, float, float]]] = {
    "step": (12, 14, 30),
    "publish": (4, 6, 12),
    "kill": (0, 0.6, 2),
    "leave": (0, 0.3, 1),
    "double": (0, 0.1, 0.6),
    "session_ends": (0, 0.6, 4),
    "rebalance": (0, 0.6, 2),
    "sweep": (0.3, 1, 2),
    "arrive": (0.5, 1.5, 3),
    "blind": (0, 0.4, 1),
    "grant": (0, 1.2, 4),
    "revoke": (0, 0.6, 2),
    "revoke_on": (1, 1, 1),
    "halt": (0, 0.5, 2),
    "sync": (0.5, 1.5, 4),
    "release": (0.5, 0.5, 2),
}
ACTS: Final = tuple(_ACTS)
_DRAWN: Final = (0, 1, 1, 2)
_STANDING: Final = (0, 0, 1, 3)
_WARM: Final = (0, 3, 3)
_LOADED: Final = (0, 0, 0, 2)
_EVENTS_MAX: Final = (6, 6, 1)


class Rates(NamedTuple):
    """Of each fault the share of the cases in which it comes, and of each act its share."""

    held: float
    """Of a request that is sent again on a new connection, while its first copy is still on its way."""
    lost: float
    """Of a connection that breaks before the answer."""
    belied: float
    """Of a commit that was sent again and is reported as done, while nothing of the transaction counts."""
    unknown: float
    """Of the end of a transaction that is never answered."""
    refused: float
    """Of a commit."""
    crash: float
    absent: float
    """Of a turn of a dead worker in which it is not started anew yet."""
    fenced: float
    """Of a writer that a revocation waits for."""
    disturbed: float
    """Of a call in which other things happen first."""
    stale: float
    """Of a listing by a broker that has not heard of the newest topics yet."""
    bad: float
    """Of a record that cannot be trusted."""
    removed: float
    standing: int
    """How many mailboxes there are from the beginning."""
    warm: int
    """How many turns the workers have had when the faults begin."""
    loaded: int
    """How many mailboxes have their first load when the faults begin."""
    events_max: int
    """Of one transaction: the smaller, the more of them a first load takes."""
    acts: tuple[float, ...]
    """In the order of `ACTS`, added up."""


def drawn(chance: random.Random) -> Rates:
    """The rates of one history."""
    faults = {name: rates[chance.choice(_DRAWN)] for name, rates in _FAULTS.items()}
    acts = tuple(accumulate(rates[chance.choice(_DRAWN)] for rates in _ACTS.values()))
    return Rates(
        **faults,
        standing=chance.choice(_STANDING),
        warm=chance.choice(_WARM),
        loaded=chance.choice(_LOADED),
        events_max=chance.choice(_EVENTS_MAX),
        acts=acts,
    )
