"""Errors of the bus, by what the caller can do.

BusError
├── Transient    try again, within a limit
├── Rejected     never try again as it is: put it aside, correct it
└── Fatal        stop the process; state cannot be trusted
"""

from __future__ import annotations


class BusError(Exception):
    """A fault with the facts to act on: what happened, why, and what to do about it.

    `cause` and `cure` are empty where nothing true can be said. Neither ever holds a secret or a personal datum.
    """

    def __init__(self, message: str, *, cause: str = "", cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.cure = cure

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What a person is told, line by line: a word and its text, none of them empty."""
        told = [("error", str(self)), ("cause", self.cause), ("cure", self.cure)]
        return [(word, text) for word, text in told if text]

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)

    def __str__(self) -> str:
        return self.message


def _rebuild(kind: type[BusError], message: str, facts: dict[str, object]) -> BusError:
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    error.__dict__.update(facts)
    return error


class Transient(BusError):
    """The world was not ready; the same call may succeed later."""


class Rejected(BusError):
    """The input is wrong and stays wrong."""


class Fatal(BusError):
    """What this process believes can no longer be trusted."""


class Fault(BusError):
    """One finding of a check that returns all of them: where, which rule, what is wrong."""

    def __init__(self, place: str, rule: str, message: str, *, cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.place = place
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.place}: {self.message} ({self.rule})"
