"""The one broker that all tests here share; they differ by the names that they use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bianhe.infra.embedded.broker import EmbeddedBroker
from support.postgres import postgres


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A new database of the registry, of both kinds."""
    folder = tmp_path_factory.mktemp("database")
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'registry.sqlite'}"
    else:
        with postgres(folder) as url:
            yield url
