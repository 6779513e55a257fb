"""Every use case of the registry on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from bianhe.infra.sql import engine
from bianhe.registry.migrations import upgrade
from support.postgres import postgres
from support.registry import with_sample

_NUMBERS = count(1)


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
        url = _new_database(request.getfixturevalue("postgres_url"))
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


def _new_database(url: str) -> str:
    name = f"registry_{next(_NUMBERS)}"
    administrator = create_engine(url, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    administrator.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)
