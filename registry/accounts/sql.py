"""The passwords of accounts, as argon2 hashes: the registry checks Basic authentication against them."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr
from sqlalchemy import Column, Connection, String, Table, delete, insert, select

from bianhe.registry.sql import metadata

account: Final = Table(
    "account",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("password_hash", String(200), nullable=False),
)
_HASHER: Final = PasswordHasher()


def set_password(connection: Connection, code: str, password: SecretStr) -> None:
    """Make this the password of an account, in place of any earlier one."""
    connection.execute(delete(account).where(account.c.code == code))
    hashed = _HASHER.hash(password.get_secret_value())
    connection.execute(insert(account).values(code=code, password_hash=hashed))


def password_is(connection: Connection, code: str, password: SecretStr) -> bool:
    """Whether this is the account's password; false also for an account that has none."""
    hashed = connection.execute(select(account.c.password_hash).where(account.c.code == code)).scalar()
    if hashed is None:
        return False
    try:
        return _HASHER.verify(hashed, password.get_secret_value())
    except VerifyMismatchError:
        return False
