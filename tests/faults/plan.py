"""What is done to a bus, when, and to whom: all of it follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from faults.proxy import Api, Treatment


class Kind(StrEnum):
    """The faults, and the decisions that are taken between them."""

    KILL_WORKER = "kill worker"
    STOP_WORKER = "stop worker past its session"
    LEAVE = "worker leaves and joins"
    ZOMBIE = "zombie with the same transactional id"
    KILL_BROKER = "kill broker"
    STOP_BROKER = "stop broker for a while"
    DISK_REFUSES = "disk takes no more"
    SLUGGISH = "broker sluggish, as on a slow disk"
    CUT = "cut every connection"
    TRAP = "one request"
    SLOW = "slow answers"
    BLIND = "policy log unreadable"
    KILL_REGISTRY = "kill registry"
    ANOTHER_RELAY = "another relay takes over"
    GRANT = "grant"
    REVOKE = "revoke"


_WEIGHTS: Final = {
    Kind.KILL_WORKER: 6,
    Kind.STOP_WORKER: 2,
    Kind.LEAVE: 3,
    Kind.ZOMBIE: 2,
    Kind.KILL_BROKER: 1,
    Kind.STOP_BROKER: 1,
    Kind.DISK_REFUSES: 0.5,
    Kind.SLUGGISH: 1,
    Kind.CUT: 3,
    Kind.TRAP: 10,
    Kind.SLOW: 1,
    Kind.BLIND: 1,
    Kind.KILL_REGISTRY: 3,
    Kind.ANOTHER_RELAY: 0.5,
    Kind.GRANT: 4,
    Kind.REVOKE: 3,
}
_TRAPPED: Final = (Api.END_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN, Api.TXN_OFFSET_COMMIT, *Api)
"""The two that tear transactions come more often."""
_SESSION_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done. Which of the numbers count depends on its kind."""

    pause: float
    """Seconds after the one before."""
    kind: Kind
    worker: int
    seconds: float
    api: Api
    treatment: Treatment
    number: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.TRAP:
                return f"{self.treatment} {self.api.name}"
            case Kind.KILL_WORKER:
                return f"kill worker {self.worker}"
            case Kind.STOP_WORKER | Kind.LEAVE | Kind.ZOMBIE:
                return f"{self.kind}: {self.worker}, {self.seconds:.1f} s"
            case Kind.CUT | Kind.KILL_REGISTRY | Kind.ANOTHER_RELAY | Kind.GRANT | Kind.REVOKE:
                return str(self.kind)
            case _:
                return f"{self.kind}, {self.seconds:.1f} s"


def plan(seed: int, seconds: float, workers: int) -> list[Act]:
    """Acts whose pauses fill the time."""
    chance, acts, at = random.Random(seed), list[Act](), 0.0
    while True:
        act = _act(chance, workers)
        at += act.pause
        if at > seconds:
            return acts
        acts.append(act)


def _act(chance: random.Random, workers: int) -> Act:
    # Everything is drawn each time, so that one kind more or less does not change all that follows.
    pause = chance.expovariate(1 / 1.5)
    [kind] = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    stretch = chance.random()
    return Act(
        pause=min(pause, 6.0),
        kind=kind,
        worker=chance.randrange(workers),
        seconds=_SESSION_SECONDS + 4 * stretch if kind is Kind.STOP_WORKER else 5 * stretch,
        api=chance.choice(_TRAPPED),
        treatment=chance.choice((Treatment.HOLD, Treatment.HOLD, Treatment.SWALLOW, Treatment.UNANSWERED)),
        number=chance.randrange(1, 5),
    )
