"""The passwords of accounts, as argon2 hashes: the registry checks Basic authentication against them."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr
from sqlalchemy import Column, Connection, Engine, String, Table, delete, insert, select

from bianhe.registry.sql import metadata, transaction

account: Final = Table(
    "account",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("password_hash", String(200), nullable=False),
)
_HASHER: Final = PasswordHasher()


def set_password(engine: Engine, code: str, password: SecretStr) -> None:
    """Make this the password of an account, in place of any earlier one."""
    # Slow on purpose, so not while others wait for the database.
    hashed = _HASHER.hash(password.get_secret_value())
    with transaction(engine) as connection:
        connection.execute(delete(account).where(account.c.code == code))
        connection.execute(insert(account).values(code=code, password_hash=hashed))


def forget_password(connection: Connection, code: str) -> None:
    """Leave an account without a password: Basic authentication refuses it."""
    connection.execute(delete(account).where(account.c.code == code))


def password_hash(connection: Connection, code: str) -> str | None:
    """The hash of the account's password; None for an account that has none."""
    return connection.execute(select(account.c.password_hash).where(account.c.code == code)).scalar()


def password_fits(hashed: str, password: SecretStr) -> bool:
    """Whether this is the password of the hash; takes a tenth of a second and 64 MB."""
    try:
        return _HASHER.verify(hashed, password.get_secret_value())
    except VerifyMismatchError:
        return False
