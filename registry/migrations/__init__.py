"""Migrations of the registry's database, run from within: there is no alembic.ini to find."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from bianhe.registry.clocks.sql import seed
from bianhe.registry.sharing.sql import recompute_deadlines
from bianhe.registry.sql import transaction

_FOLDER: Final = Path(__file__).parent


def revisions(connection: Connection) -> tuple[str | None, str | None]:
    """The revision that a database has (None: no table yet), and the one that this version of Bianhe needs."""
    return MigrationContext.configure(connection).get_current_revision(), ScriptDirectory(
        str(_FOLDER)
    ).get_current_head()


def upgrade(engine: Engine) -> None:
    """Bring the database to the present revision and the calendar to the published years; harmless to repeat.

    Raises DatabaseBusy or DatabaseUnusable.
    """
    with transaction(engine) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
        command.upgrade(config, "head")
        if seed(connection):
            recompute_deadlines(connection)
