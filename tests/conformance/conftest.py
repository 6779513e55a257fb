"""Every use case of the registry on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from bianhe.infra.sql import engine
from bianhe.registry.migrations import upgrade
from support.postgres import postgres
from support.registry import with_sample


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("database")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A new database without tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    else:
        url = _emptied(request.getfixturevalue("postgres_url"))
    made = engine(url)
    yield made
    made.dispose()


@pytest.fixture
def database(empty_database: Engine) -> Engine:
    """A new database with tables and calendar."""
    upgrade(empty_database)
    return empty_database


@pytest.fixture
def city(database: Engine) -> Engine:
    """A new database with the sample catalog."""
    with_sample(database)
    return database


def _emptied(url: str) -> str:
    database = create_engine(url)
    with database.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.dispose()
    return url
