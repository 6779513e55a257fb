"""What a register of the city does: one change after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Protocol

State = dict[str, str]
"""All items of an entity by name, as a CSV file writes them; an empty text is null."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `kind` is an event kind or REMOVED, `case` the objection it answers, `items` the new state.

    The items of a removal are the natural key alone.
    """

    kind: str
    items: Mapping[str, str]
    case: str = ""


class Register(Protocol):
    """A register whose next change depends on what it holds."""

    def change(self, today: date) -> Change:
        """The next change; `today` never goes back."""
        ...


class Living:
    """The entities that something can still happen to; drawing and taking out cost the same for any number."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._states: list[State] = []

    def __len__(self) -> int:
        return len(self._states)

    def add(self, state: State) -> State:
        self._states.append(state)
        return state

    def draw(self) -> State:
        return self._states[self._index()]

    def take(self, least: str | None = None) -> State:
        """Take one out; with the name of an item, of three drawn the one where it is least (empty is greatest)."""
        index = self._index()
        if least is not None:
            index = min(index, self._index(), self._index(), key=lambda place: self._states[place][least] or "~")
        taken, self._states[index] = self._states[index], self._states[-1]
        self._states.pop()
        return taken

    def _index(self) -> int:
        return int(self._rng.random() * len(self._states))


def case_number(rng: Random, today: date) -> str:
    """The number of an objection; every second correction answers one."""
    return f"O-{today.year}-{rng.randrange(1, 10_000):04}" if rng.random() < 0.5 else ""
