"""What `bianhe doctor` found, check by check, and what the command comes to with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bianhe.infra.cli.console import Exit


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Verdict(NamedTuple):
    """What a check found; cause and cure where something is to be done."""

    state: State
    fact: str
    cause: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with the name of the check that gave it."""

    check: str
    state: State
    fact: str
    cause: str = ""
    cure: str = ""


def exit_code(findings: Iterable[Finding], groundwork: str) -> Exit:
    """0 all is well, 3 something is not, 1 where the check `groundwork` failed and so nothing of the bus was seen."""
    states = [(finding.check, finding.state) for finding in findings]
    if (groundwork, State.FAULT) in states:
        return Exit.FAILED
    return Exit.DIFFERENCES if any(state in (State.FAULT, State.UNKNOWN) for _, state in states) else Exit.DONE


def ok(fact: str) -> Verdict:
    return Verdict(State.OK, fact)
