"""A whole bus for tests of providers and subscribers: broker, registry, router, the sample catalog, two grants."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.cli.bus import Bus
from bianhe.infra.settings import write_secret
from bianhe.infra.sql import engine
from bianhe.registry.accounts import kafka as accounts
from bianhe.registry.policy.sql import pending
from bianhe.registry.sharing import sql as sharing
from bianhe.registry.sql import transaction
from bianhe.registry.sync import kafka as sync
from bianhe.schemas.grant import Mask, parse_row_rule
from support.broker import eventually
from support.registry import request, with_sample
from support.rows import POPULATION, SECRET

PROVIDER = "gongan"
OPEN_READER = "renshe"
MAILBOX_READER = "xiangfu"
UNGRANTED = "shangwu"
"""A department with an account and nothing to read."""
MAILBOX_ITEMS = ("name", "status", "residence_division", "migrated_on")
_PASSWORD = "password"


@dataclass
class Exchange:
    """A running bus; `profiles` has one folder per department."""

    bus: Bus
    profiles: Path

    def profile(self, department: str, client: str = "main") -> Path:
        """A profile file of a department, its password beside it."""
        folder = self.profiles / department
        if not (folder / _PASSWORD).exists():
            database = engine(self.bus.settings.database)
            accounts.rotate(self.bus.broker.connection(), database, department, folder / _PASSWORD)
            write_secret(folder / "keys" / "population.key", SecretStr(SECRET.hex()))
        path = folder / f"{client}.toml"
        ca_file = self.bus.broker.ca_file
        path.write_text(
            f'department = "{department}"\nbootstrap = "{self.bus.broker.bootstrap}"\nclient = "{client}"\n'
            f'registry = "{self.bus.settings.registry}"\npassword_file = "{_PASSWORD}"\nkey_secrets = "keys"\n'
            + (f'ca_file = "{ca_file}"\n' if ca_file else ""),
            encoding="utf-8",
        )
        return path


@contextmanager
def exchange(home: Path, *, tls: bool = False) -> Iterator[Exchange]:
    """Start a bus on which `OPEN_READER` reads all unconditional items, `MAILBOX_READER` a mailbox."""
    with Bus(home, registry=f"http://127.0.0.1:{_free_port()}", tls=tls) as bus:
        database = engine(bus.settings.database)
        now = clock.now()
        with_sample(database, bus.settings.routers)
        sharing.submit(database, request(department=OPEN_READER, items=POPULATION.unconditional), now)
        asked = sharing.submit(database, request(department=MAILBOX_READER, items=MAILBOX_ITEMS), now)
        masks, rule = (Mask.parse("name=first:1"),), parse_row_rule("residence_division = 410212")
        sharing.agree(database, asked.number, masks, rule, PROVIDER, now)
        assert eventually(lambda: not _waiting(database))
        admin = bus.broker.connection()
        sync.apply(admin, sync.plan_cluster(admin).steps, bus.settings.kafka.secrets)
        yield Exchange(bus, home / "profiles")


def _waiting(database: Engine) -> int:
    with transaction(database) as connection:
        return len(pending(connection))


def _free_port() -> int:
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
