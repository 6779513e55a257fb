"""Issuing a password, or lending one: to Kafka as a SCRAM credential, to the registry as a hash, to a file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Engine

from bianhe.infra.kafka import raw
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import LoginRefused
from bianhe.infra.kafka.session import check_login
from bianhe.infra.settings import write_secret
from bianhe.registry.accounts import sql
from bianhe.registry.accounts.standing import Account, check_rotation, standing
from bianhe.registry.policy.kafka import read_policy

ACCEPTED_SECONDS: Final = 10.0
_WAIT_SECONDS: Final = 0.02


def list_accounts(connection: Connection) -> list[Account]:
    """Every account of the policy log and whether it can log in."""
    return standing(read_policy(connection), raw.accounts(connection))


def rotate(connection: Connection, engine: Engine, files: Mapping[str, Path]) -> dict[str, SecretStr]:
    """Give accounts new random passwords, each written to its file with mode 0600; the former ones are no longer valid.

    Raises UnknownAccount, and changes nothing, where the policy log does not enable one of them. Cut off midway,
    rotating again puts it right.
    """
    policy = read_policy(connection)
    for code in files:
        check_rotation(policy, code)
    passwords = {code: SecretStr(secrets.token_urlsafe(32)) for code in files}
    for code, password in passwords.items():
        # The database first: one that cannot be written leaves the former password valid everywhere.
        sql.set_password(engine, code, password)
        # Then the file: a password that nobody can read would lock its owner out.
        write_secret(files[code], password)
    give_credentials(connection, passwords)
    return passwords


def give_credentials(connection: Connection, passwords: Mapping[str, SecretStr]) -> None:
    """Make these the passwords of accounts on Kafka, and return when the broker accepts them."""
    with Admin(connection) as cluster:
        cluster.set_passwords(passwords)
    for account, password in passwords.items():
        _await_accepted(replace(connection, account=account, password=password))


@contextmanager
def lent(connection: Connection, account: str) -> Iterator[Connection]:
    """A connection of an account that can log in only meanwhile; its password is written down nowhere.

    Whoever borrows it at the same time takes it away from the one before.
    """
    password = SecretStr(secrets.token_urlsafe(32))
    give_credentials(connection, {account: password})
    try:
        yield replace(connection, account=account, password=password)
    finally:
        with Admin(connection) as cluster:
            cluster.delete_account(account)


def _await_accepted(theirs: Connection) -> None:
    deadline = time.monotonic() + ACCEPTED_SECONDS
    while True:
        try:
            check_login(theirs)
            return
        except LoginRefused:
            # The controller has it already, the broker reads it a moment later.
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAIT_SECONDS)
