"""B29: a database that is locked, read-only or not there gives a clear error, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from bianhe.infra.sql import NoDatabase, engine
from bianhe.registry.sharing import sql
from bianhe.registry.sql import DatabaseBusy, DatabaseUnusable, deciding
from support.registry import NOW, request


def _impatient(city: Engine) -> Engine:
    """The same database for a process that waits for a lock only a moment."""
    if city.dialect.name == "postgresql":
        return engine(_with_option(city, "lock_timeout=50"))
    made = engine(city.url.render_as_string(hide_password=False))
    event.listen(made, "connect", lambda connection, _record: connection.execute("PRAGMA busy_timeout=50"))
    return made


def _read_only(city: Engine) -> Engine:
    if city.dialect.name == "postgresql":
        return engine(_with_option(city, "default_transaction_read_only=on"))
    return engine(f"sqlite:///file:{city.url.database}?mode=ro&uri=true")


def _with_option(city: Engine, option: str) -> str:
    return city.url.update_query_dict({"options": f"-c {option}"}).render_as_string(hide_password=False)


def test_b29_a_locked_database_is_told_and_nothing_is_changed(city: Engine) -> None:
    other = _impatient(city)
    with deciding(city), pytest.raises(DatabaseBusy) as refused:
        sql.submit(other, request(), NOW)
    other.dispose()
    assert "locked" in refused.value.message
    assert refused.value.cure
    assert sql.applications(city) == []


def test_b29_a_read_only_database_is_told_and_can_still_be_read(city: Engine) -> None:
    other = _read_only(city)
    with pytest.raises(DatabaseUnusable) as refused:
        sql.submit(other, request(), NOW)
    assert "read-only" in refused.value.message
    assert refused.value.cure
    assert sql.applications(other) == []
    other.dispose()


def test_b29_a_database_without_tables_says_how_to_get_them(empty_database: Engine) -> None:
    with pytest.raises(DatabaseUnusable) as refused:
        sql.applications(empty_database)
    assert "lacks its tables" in refused.value.message


def test_b29_a_database_that_does_not_answer_is_told() -> None:
    with pytest.raises(DatabaseBusy) as refused:
        sql.applications(engine("postgresql+psycopg://nobody@127.0.0.1:1/registry"))
    assert "does not answer" in refused.value.message


def test_b29_a_database_that_is_gone_is_told_and_none_is_made_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"
    with pytest.raises(NoDatabase, match="there is no database"):
        sql.applications(engine(f"sqlite:///{file}"))
    assert not file.exists()
