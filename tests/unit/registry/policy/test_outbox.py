"""A database learns from the log what it does not know, and can give back what the log lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from bianhe.infra.sql import engine
from bianhe.registry.migrations import upgrade
from bianhe.registry.policy import sql
from bianhe.registry.policy.chain import number
from bianhe.registry.sql import transaction
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.records.policy import PolicyRecord
from bianhe.schemas.signatures import SigningKey
from support.policies import AT, department

KEY = SigningKey(bytes(32))
BODIES = [department(f"d{index}") for index in range(6)]


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    made = engine(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    upgrade(made)
    return made


def a_log(database: Engine) -> list[PolicyRecord]:
    """Six decisions, numbered; the database has been told of the first three numbers."""
    with transaction(database) as connection:
        sql.append(connection, BODIES, AT)
        log = number(EMPTY, sql.pending(connection), (), KEY)
        for record in log[:3]:
            sql.numbered(connection, record.id, record.number)
    return log


def test_a_restored_backup_learns_the_numbers_and_rows_that_it_lacks_and_only_those(database: Engine) -> None:
    log = a_log(database)
    with transaction(database) as connection:
        connection.execute(sql.outbox.delete().where(sql.outbox.c.id.in_([record.id for record in log[4:]])))
        assert sql.learn(connection, log) == 2
        assert sql.learn(connection, log) == 0
        assert sql.highest_number(connection) == 6
        assert sql.pending(connection) == []
        assert [row.body for row in sql.beyond(connection, 0)] == BODIES


def test_a_number_that_is_another_on_the_log_stops(database: Engine) -> None:
    log = a_log(database)
    swapped = [log[1].model_copy(update={"number": 1}), log[0].model_copy(update={"number": 2})]
    with pytest.raises(sql.NumberedTwice), transaction(database) as connection:
        sql.learn(connection, swapped)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_what_a_log_lost_is_made_again_from_the_database_byte_for_byte(database: Engine, kept: int) -> None:
    log = a_log(database)
    with transaction(database) as connection:
        sql.learn(connection, log)
        lost = sql.beyond(connection, kept)
    again = number(fold(EMPTY, log[:kept]), lost, {record.id for record in log[:kept]}, KEY)
    assert [record.encode() for record in again] == [record.encode() for record in log[kept:]]
