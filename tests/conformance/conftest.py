"""Every use case of the registry on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from bianhe.infra.cli.console import Exit
from bianhe.infra.sql import create, engine
from bianhe.registry.migrations import upgrade
from support.command_line import Run, in_this_process
from support.postgres import postgres
from support.registry import SAMPLE, with_sample


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
    create(made)
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


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line against a registry of its own and a broker that is away; gives exit code, output, errors."""
    database = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    upgrade(engine(database))
    monkeypatch.setenv("BIANHE_HOME", str(tmp_path))
    monkeypatch.setenv("BIANHE_DATABASE", database)
    monkeypatch.setenv("BIANHE_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("BIANHE_KAFKA__SECRETS", str(tmp_path / "secrets"))
    monkeypatch.setenv("COLUMNS", "200")
    return in_this_process(monkeypatch, capfd)


@pytest.fixture
def imported(run: Run) -> Run:
    """The same, with the sample catalog."""
    assert run("catalog", "import", str(SAMPLE))[0] == Exit.DONE
    return run


def _emptied(url: str) -> str:
    database = create_engine(url)
    with database.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.dispose()
    return url
