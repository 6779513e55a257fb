"""Migrations of the registry's database, run from within: there is no alembic.ini to find."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from bianhe.registry.clocks.sql import seed
from bianhe.registry.sharing.sql import recompute_deadlines
from bianhe.registry.sql import transaction

_FOLDER: Final = Path(__file__).parent


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
