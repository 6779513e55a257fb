"""What `bianhe doctor` examines: one installation of the bus, each part opened when a check first asks for it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property

from sqlalchemy import Engine

from bianhe.infra.closing import Closing
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import Settings, data_home, load
from bianhe.infra.sql import engine
from bianhe.registry.policy.kafka import PolicyLog
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import ADMIN_ACCOUNT


class Installation(Closing):
    """The settings of this machine and what they lead to. Use it in a `with` block; every part may raise a BusError."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def close(self) -> None:
        self._open.close()

    @cached_property
    def settings(self) -> Settings:
        return load()

    @property
    def embedded(self) -> bool:
        """Whether this machine runs its own broker, or would: nothing here says otherwise."""
        try:
            return self.settings.kafka.secrets.is_relative_to(data_home() / "kafka")
        except BusError:
            return True

    @property
    def admin(self) -> Connection:
        return self.component(ADMIN_ACCOUNT)

    def component(self, account: str) -> Connection:
        return component(self.settings.kafka, account)

    @cached_property
    def cluster(self) -> Admin:
        return self._open.enter_context(Admin(self.admin))

    @cached_property
    def policy_log(self) -> PolicyLog:
        return self._open.enter_context(PolicyLog(self.admin))

    @cached_property
    def database(self) -> Engine:
        return engine(self.settings.database)
