"""Working days against the published vectors and by their laws."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.infra.sql import engine
from bianhe.registry.clocks.sql import calendar, seed
from bianhe.registry.clocks.working_days import Calendar, due
from bianhe.registry.sql import metadata, transaction

_FILE = Path(__file__).parents[3] / "vectors" / "clocks" / "working_days.csv"
VECTORS = list(csv.DictReader(_FILE.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def published() -> Calendar:
    database = engine("sqlite://")
    metadata.create_all(database)
    with transaction(database) as connection:
        assert seed(connection)
        assert not seed(connection)
        return calendar(connection)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['start']}+{vector['days']}")
def test_a_limit_ends_as_the_vector_says(published: Calendar, vector: dict[str, str]) -> None:
    limit = due(date.fromisoformat(vector["start"]), int(vector["days"]), published)
    assert (limit.day.isoformat(), limit.provisional) == (vector["due"], vector["provisional"] == "true")


@given(st.dates(date(2025, 1, 1), date(2028, 1, 1)), st.integers(1, 40), st.dictionaries(st.dates(), st.booleans()))
def test_a_limit_ends_on_the_nth_working_day_after_its_start(
    start: date, days: int, exceptions: dict[date, bool]
) -> None:
    known = Calendar(exceptions)
    limit = due(start, days, known)
    passed = [start + timedelta(days=n) for n in range(1, (limit.day - start).days + 1)]
    assert known.working(limit.day)
    assert sum(map(known.working, passed)) == days


@given(st.dates(date(2025, 1, 1), date(2030, 1, 1)), st.integers(1, 40))
def test_a_limit_is_provisional_exactly_where_a_year_is_unknown(start: date, days: int) -> None:
    known = Calendar({date(2026, 10, 1): False})
    limit = due(start, days, known)
    assert limit.provisional == ({(start + timedelta(days=1)).year, limit.day.year} != {2026})
