"""A whole bus for tests of providers and subscribers: broker, registry, router, the sample catalog, two grants."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from bianhe.infra import clock
from bianhe.infra.cli.bus import Bus
from bianhe.infra.embedded.data_directory import free_ports
from bianhe.infra.settings import write_secret
from bianhe.infra.sql import engine
from bianhe.registry.accounts import kafka as accounts
from bianhe.registry.sharing import sql as sharing
from bianhe.registry.sync import kafka as sync
from bianhe.schemas.grant import Grant, Mask, parse_row_rule
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
            accounts.rotate(self.bus.broker.connection(), database, {department: folder / _PASSWORD})
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

    def grant(
        self, department: str, items: tuple[str, ...], masks: Sequence[str] = (), rule: str = "", changes: str = ""
    ) -> Grant:
        """Grant a department these items of the population and open them on the cluster."""
        database, admin = engine(self.bus.settings.database), self.bus.broker.connection()
        asked = sharing.submit(database, request(department=department, items=items, changes=changes), clock.now())
        if asked.grant is None:
            row_rule = parse_row_rule(rule) if rule else ()
            sharing.agree(database, asked.number, tuple(map(Mask.parse, masks)), row_rule, PROVIDER, clock.now())
        given = sharing.grants(database, department)[-1].grant
        assert eventually(lambda: sharing.grant(database, given.number).policy is not None)
        sync.apply(admin, sync.plan_cluster(admin).steps, self.bus.settings.kafka.secrets)
        return given


@contextmanager
def exchange(home: Path, *, tls: bool = False) -> Iterator[Exchange]:
    """Start a bus on which `OPEN_READER` reads all unconditional items, `MAILBOX_READER` a mailbox."""
    with Bus(home, registry=f"http://127.0.0.1:{next(free_ports(random.Random()))}", tls=tls) as bus:
        with_sample(engine(bus.settings.database), bus.settings.routers)
        running = Exchange(bus, home / "profiles")
        running.grant(OPEN_READER, POPULATION.unconditional)
        running.grant(MAILBOX_READER, MAILBOX_ITEMS, ["name=first:1"], "residence_division = 410212")
        yield running
