"""Statutory time limits in working days (809 articles 20, 21; article 15). The day that starts one is not counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

UNCONDITIONAL_DAYS: Final = 1
"""Working days to answer an application for unconditional items only (809 article 21)."""
CONDITIONAL_DAYS: Final = 10
"""Working days to answer an application with a conditional item (809 article 21, article 15)."""


@dataclass(frozen=True)
class Calendar:
    """Days that are not what their weekday says, by the yearly notice of the State Council: true if they are worked.

    A year without an exception is unknown: its notice is not out yet.
    """

    exceptions: Mapping[date, bool] = field(default_factory=dict)

    def working(self, day: date) -> bool:
        return self.exceptions.get(day, day.weekday() < 5)

    def knows(self, year: int) -> bool:
        return any(day.year == year for day in self.exceptions)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The last day of a limit; provisional where it was counted over a year whose holidays are not known yet."""

    day: date
    provisional: bool = False


def due(start: date, working_days: int, calendar: Calendar) -> Deadline:
    """The last day of a limit that starts with an act on `start`, in the city's time."""
    day, left = start, working_days
    while left:
        day += timedelta(days=1)
        left -= calendar.working(day)
    years = range((start + timedelta(days=1)).year, day.year + 1)
    return Deadline(day, provisional=not all(calendar.knows(year) for year in years))
