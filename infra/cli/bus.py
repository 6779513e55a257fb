"""Everything on one machine: the broker, the registry and the router's workers, each a process of its own."""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from bianhe.consumers.router.workers import worker_count
from bianhe.infra.embedded.broker import BrokerDied, EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.embedded.data_directory import check_port
from bianhe.infra.pki import Pki
from bianhe.infra.schema_registry import answers
from bianhe.infra.settings import KafkaSettings, Settings, write_secret
from bianhe.registry.sync import kafka as sync
from bianhe.schemas.errors import Transient

REGISTRY: Final = "registry"
MONITORS: Final = "monitors"
READY_SECONDS: Final = 60.0
_PARTITIONS: Final = 4
"""What a source has unless its catalog says otherwise; the workers start before there is a catalog."""
Told = Callable[[str], None]


class NotReady(Transient):
    """A process of the bus does not come up."""


class Bus:
    """An embedded bus in a folder; its data is kept between starts. Use it in a `with` block.

    Raises what EmbeddedBroker.start raises, PortTaken for the registry's port too, and NotReady where the registry does
    not come up.
    """

    def __init__(
        self,
        home: Path,
        *,
        registry: str = "http://127.0.0.1:8080",
        kafka_port: int | None = None,
        workers: int | None = None,
        tls: bool = False,
        monitors: bool = False,
        told: Told = lambda text: None,
    ) -> None:
        self._home = home
        self._told = told
        self._registry = registry
        self._workers = workers or worker_count(os.cpu_count() or 1, [_PARTITIONS])
        self._monitors = monitors
        pki = Pki(home / "pki") if tls else None
        self.broker = EmbeddedBroker(home / "kafka", kafka_port, pki=pki, progress=self._fetched)
        self.children = Children(home / "logs", {"BIANHE_HOME": str(home)})

    @property
    def settings(self) -> Settings:
        """What commands need to talk to this bus."""
        secret_files, ca_file = self._home / "kafka" / "secrets", self.broker.ca_file
        kafka = KafkaSettings(bootstrap=self.broker.bootstrap, secrets=secret_files, ca_file=ca_file)
        database = f"sqlite:///{self._home / 'registry.sqlite'}"
        return Settings(home=self._home, kafka=kafka, database=database, registry=self._registry, routers=self._workers)

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.broker.start()
            # Only now: who starts a second bus on the same data is told that, not that its port is taken.
            check_port(urlsplit(self._registry).port or 80, "name another one: --registry-port")
            self._told("Kafka answers")
            self._write_settings()
            sync.prepare(self.broker.connection(), self.settings.kafka.secrets)
            self._start_processes()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the workers, the registry and the broker, in this order."""
        self.children.stop()
        self.broker.stop()

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Start anew what ends by itself, until `stopped` (which waits the given seconds) says so.

        Raises what EmbeddedBroker.start raises where the broker does not come up again.
        """
        while not stopped(0.5):
            if self.broker.ended():
                self._told(f"Kafka ended and is started again; see {self.broker.log}")
                self._restart_broker()
            for name in self.children.revive():
                self._told(f"{name} ended and was started again; see {self.children.log(name)}")

    def _restart_broker(self) -> None:
        try:
            self.broker.restart()
        except BrokerDied as died:
            # What killed it may have killed it again while it was starting.
            self._told(f"{died}; once more")
            self.broker.restart()

    def _fetched(self, done: int, total: int) -> None:
        if done == total:
            self._told(
                f"Python {platform.python_version()} · {self.broker.java} · Kafka 4.4.0 ({total} jars, verified)"
            )

    def _write_settings(self) -> None:
        settings = self.settings
        lines = [
            f"database = {json.dumps(settings.database)}",
            f"registry = {json.dumps(settings.registry)}",
            f"routers = {settings.routers}",
            "[kafka]",
            f"bootstrap = {json.dumps(settings.kafka.bootstrap)}",
            f"secrets = {json.dumps(str(settings.kafka.secrets))}",
        ]
        if settings.kafka.ca_file:
            lines.append(f"ca_file = {json.dumps(str(settings.kafka.ca_file))}")
        (self._home / "bianhe.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        key = settings.kafka.secrets / "pseudonym-key"
        if not key.exists():
            write_secret(key, SecretStr(secrets.token_hex(32)))

    def _start_processes(self) -> None:
        self.children.start(REGISTRY, "bianhe.registry")
        for worker in range(self.settings.routers):
            self.children.start(f"router-{worker}", "bianhe.consumers.router", str(worker))
        self._await_registry()
        if self._monitors:
            self.children.start(MONITORS, "bianhe.consumers.monitors")
        self._told(f"registry answers at {self._registry}")

    def _await_registry(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not self.children.ended(REGISTRY):
            if answers(self._registry):
                return
            time.sleep(0.1)
        log = self.children.log(REGISTRY)
        raise NotReady(
            f"the registry does not answer at {self._registry}",
            cause=_last_words(log),
            cure=f"read {log}",
        )


def _last_words(log: Path) -> str:
    """The error that a process ended with, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = (line.removeprefix("error  ") for line in reversed(lines[-3:]) if line.startswith("error  "))
    return next(errors, lines[-1] if lines else "it said nothing")
