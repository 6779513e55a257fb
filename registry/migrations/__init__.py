"""Migrations of the registry's database, run from within: there is no alembic.ini to find."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from bianhe.infra.sql import NoDatabase, create
from bianhe.registry.clocks.sql import seed
from bianhe.registry.sharing.sql import recompute_deadlines
from bianhe.registry.sql import transaction

_FOLDER: Final = Path(__file__).parent


def revisions(connection: Connection) -> tuple[str | None, str | None]:
    """The revision that a database has (None: no table yet), and the one that this version of Bianhe needs."""
    return MigrationContext.configure(connection).get_current_revision(), ScriptDirectory(
        str(_FOLDER)
    ).get_current_head()


def is_new(engine: Engine) -> bool:
    """Whether this database has no table of the registry yet, or is not even there."""
    try:
        with transaction(engine) as connection:
            return revisions(connection)[0] is None
    except NoDatabase:
        return True


def upgrade(engine: Engine) -> None:
    """Bring the database to the present revision and the calendar to the published years; harmless to repeat.

    Makes the database where there is none. Raises DatabaseBusy or DatabaseUnusable.
    """
    create(engine)
    with transaction(engine) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
        command.upgrade(config, "head")
        if seed(connection):
            recompute_deadlines(connection)
