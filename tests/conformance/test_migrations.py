"""The migrations make what the tables say, on both databases."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

import bianhe.registry.accounts.sql
import bianhe.registry.sharing.sql  # noqa: F401  both bring their tables into the metadata
from bianhe.registry.clocks.sql import calendar
from bianhe.registry.migrations import upgrade
from bianhe.registry.sql import metadata, transaction


def test_migrations_make_exactly_the_tables_of_the_code(database: Engine) -> None:
    with transaction(database) as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []


def test_upgrading_twice_changes_nothing(database: Engine) -> None:
    upgrade(database)
    with transaction(database) as connection:
        assert calendar(connection).knows(2026)
        assert not calendar(connection).knows(2027)
