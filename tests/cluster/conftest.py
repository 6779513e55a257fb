"""The one broker that all tests here share; they differ by the names that they use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bianhe.infra.embedded.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running
