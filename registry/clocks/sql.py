"""The working-day calendar in the database, seeded from the published years that `chinese_calendar` knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import chinese_calendar  # type: ignore[import-untyped]
from sqlalchemy import Boolean, Column, Connection, Date, String, Table, insert, select

from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.sql import metadata

calendar_exception: Final = Table(
    "calendar_exception",
    metadata,
    Column("day", Date, primary_key=True),
    Column("working", Boolean, nullable=False),
    Column("source", String(100), nullable=False),
)

_FIRST_YEAR: Final = 2025
_SOURCE: Final = "chinesecalendar, after the yearly notice of the State Council"


def calendar(connection: Connection) -> Calendar:
    """The calendar as far as it is known."""
    rows = connection.execute(select(calendar_exception.c.day, calendar_exception.c.working))
    return Calendar({row.day: row.working for row in rows})


def seed(connection: Connection) -> bool:
    """Add the published years that the calendar lacks; true if there was one."""
    known = calendar(connection)
    new = [(day, working) for day, working in _published() if not known.knows(day.year)]
    if new:
        rows = [{"day": day, "working": working, "source": _SOURCE} for day, working in new]
        connection.execute(insert(calendar_exception), rows)
    return bool(new)


def _published() -> Iterator[tuple[date, bool]]:
    """The days that are not what their weekday says; the package refuses a year without a notice."""
    day = date(_FIRST_YEAR, 1, 1)
    while True:
        try:
            working = chinese_calendar.is_workday(day)
        except NotImplementedError:
            return
        if working != (day.weekday() < 5):
            yield day, working
        day += timedelta(days=1)
