"""One real Kafka broker in one data directory, for trials and tests; never for production."""

from __future__ import annotations

import base64
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from pydantic import SecretStr

from bianhe.infra import clock
from bianhe.infra.embedded import jars
from bianhe.infra.embedded.data_directory import DataLock, choose_ports, secret
from bianhe.infra.embedded.former_self import FormerSelf
from bianhe.infra.embedded.java import Java, find_java
from bianhe.infra.embedded.server_properties import HOST, NODE_ACCOUNT, Ports, server_properties
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.components import policy_keys
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import BrokerUnreachable, LoginRefused
from bianhe.infra.kafka.session import check_login
from bianhe.infra.pki import Pki
from bianhe.infra.settings import write_private
from bianhe.schemas.errors import Fatal
from bianhe.schemas.names import ADMIN_ACCOUNT

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
CERTIFICATE: Final = "broker"
_POLL_SECONDS: Final = 0.05


class BrokerDied(Fatal):
    """The broker ended by itself, or does not come up."""


class EmbeddedBroker:
    """A broker with SCRAM, access rules and default deny on 127.0.0.1; its data is kept between starts.

    Use it in a `with` block, or call start and stop. `port` is the clients' port; without it one is chosen at the first
    start and kept while it is free. With `pki` they must speak TLS.
    It dies with its parent (Linux), so start it from a thread that stays.
    start raises AlreadyRunning, PortTaken, BrokerDied, NoJava, JarRefused, JarsUnavailable, NoKafkaHome.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        pki: Pki | None = None,
        progress: jars.Progress = lambda done, total: None,
        group_delay_ms: int = 0,
    ) -> None:
        self._data = data_dir.absolute()
        self._asked = port
        self._pki = pki
        self._progress = progress
        self._group_delay_ms = group_delay_ms
        self._lock: DataLock | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: Ports | None = None
        self.java: Java | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        assert self._ports, "the broker was not started"
        return self._ports.bootstrap

    @property
    def pid(self) -> int:
        """The process id of the broker's Java."""
        assert self._process, "the broker was not started"
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._data / "logs" / "broker.log"

    @property
    def ca_file(self) -> Path | None:
        """What clients must trust; None where the broker speaks no TLS."""
        return self._pki.ca_file if self._pki else None

    def admin_password(self) -> SecretStr:
        return secret(self._data, ADMIN_ACCOUNT)

    def connection(self) -> Connection:
        """The administrator's way in: the super user of the clients' listener."""
        keys = policy_keys(self._data / "secrets")
        return Connection(self.bootstrap, ADMIN_ACCOUNT, self.admin_password(), self.ca_file, policy_keys=keys)

    def start(self) -> None:
        """Start and return when the broker answers its administrator. Nothing runs on if this raises."""
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = DataLock(self._data)
        try:
            self.java = java = find_java()
            classpath = jars.kafka_jars(jars.default_cache(), self._progress)
            self._ports = choose_ports(self._data, self._asked, random.Random())
            command = self._command(java, classpath)
            self._format(command)
            self._launch(command)
        except BaseException:
            self.kill()
            self._unlock()
            raise

    def stop(self) -> None:
        """End the broker in good order, by force after 30 s."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._unlock()

    def kill(self) -> None:
        """End the broker at once, as a power failure of the process would. The data directory stays ours."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def running(self) -> bool:
        """Whether there is a process, answering or not."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> bool:
        """Whether the broker ended by itself, or by another's hand."""
        return self._process is not None and self._process.poll() is not None

    def restart(self) -> None:
        """Start again on the same ports and data, after a kill or in place of what runs."""
        self.stop()
        self._asked = self._ports.client if self._ports else self._asked
        self.start()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _command(self, java: Java, classpath: list[Path]) -> list[str]:
        """Java with everything up to the class to run; the files that it needs are written."""
        assert self._ports
        (self._data / "logs").mkdir(exist_ok=True)
        node_password = secret(self._data, NODE_ACCOUNT)
        keystore = self._keystore()
        for file, storage in ((self._settings, "kafka"), (self._settings_to_format, "formatting")):
            text = server_properties(self._data / storage, self._ports, node_password, keystore, self._group_delay_ms)
            write_private(file, text)
        logging = self._data / "log4j2.properties"
        write_private(logging, resources.files(__package__).joinpath("log4j2.properties").read_text("utf-8"))
        return [
            str(java.program),
            # A small heap of fixed size. This collector stops the broker for 10 ms every few seconds; the serial one
            # took 60, and 30 ms of it were in every reader's p99; Java's own choice stopped it four times as often. The
            # young part is fixed too: left to itself it shrank beside thousands of topics, and the whole heap was
            # collected every half minute, for a second.
            "-XX:+UseParallelGC",
            "-XX:ParallelGCThreads=2",
            "-Xmn224m",
            "-XX:SurvivorRatio=4",
            "-XX:-UseAdaptiveSizePolicy",
            "-Xms512m",
            "-Xmx512m",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={logging}",
            f"-Dbianhe.broker.log={self.log}",
            "-cp",
            os.pathsep.join(str(jar) for jar in classpath),
        ]

    def _keystore(self) -> Path | None:
        """The broker's keystore, issued at the first start; the authority too, where there is none."""
        if self._pki is None:
            return None
        if not self._pki.ca_file.exists():
            self._pki.init(clock.now())
        keystore = self._pki.keystore(CERTIFICATE)
        if not keystore.exists():
            self._pki.issue(CERTIFICATE, (HOST, "localhost"), clock.now())
        return keystore

    @property
    def _settings(self) -> Path:
        return self._data / "server.properties"

    @property
    def _settings_to_format(self) -> Path:
        return self._data / "formatting.properties"

    def _format(self, command: list[str]) -> None:
        """Format the storage once, aside and then renamed, so that a kill in between leaves nothing half done."""
        target, aside = self._data / "kafka", self._data / "formatting"
        if target.exists():
            return
        shutil.rmtree(aside, ignore_errors=True)
        options = ["format", "--standalone", "-t", _cluster_id(), "-c", str(self._settings_to_format)]
        self._run([*command, "kafka.tools.StorageTool", *options])
        assert self._process
        if self._process.wait(START_SECONDS) != 0:
            raise self._died("the storage could not be formatted")
        aside.replace(target)

    def _launch(self, command: list[str]) -> None:
        assert self._ports
        node = Connection(
            self._ports.internal_bootstrap, NODE_ACCOUNT, secret(self._data, NODE_ACCOUNT), mechanism="PLAIN"
        )
        deadline = time.monotonic() + START_SECONDS
        former = FormerSelf(self.log, replace(node, bootstrap=f"{HOST}:{self._ports.controller}"))
        self._run([*command, "kafka.Kafka", str(self._settings)])

        def answers() -> None:
            former.step_aside()
            check_login(node)

        self._await(answers, deadline)
        # Not by the formatting tool, whose command line everybody on the machine can read.
        with Admin(node) as admin:
            admin.set_passwords({ADMIN_ACCOUNT: self.admin_password()})
        self._await(lambda: check_login(self.connection()), deadline)

    def _run(self, command: list[str]) -> None:
        """Run Java so that it dies with this process, hears no Ctrl-C of its own, and holds the lock."""
        assert self._lock
        tether = [sys.executable, "-P", "-m", "bianhe.infra.embedded.tether", str(os.getpid()), "--"]
        with (self._data / "logs" / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                [*tether, *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                pass_fds=[self._lock.descriptor],
            )

    def _await(self, probe: Callable[[], object], deadline: float) -> None:
        while True:
            try:
                probe()
            except (BrokerUnreachable, LoginRefused) as error:
                assert self._process
                if self._process.poll() is not None:
                    raise self._died("the broker ended while starting") from error
                if time.monotonic() > deadline:
                    raise self._died(f"the broker did not answer within {START_SECONDS:.0f} s") from error
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _died(self, what: str) -> BrokerDied:
        return BrokerDied(
            what,
            cause=_last_complaint([self.log, self._data / "logs" / "console.log"]),
            cure=f"read {self.log}, and start again; only where nothing in {self._data} is wanted may it be removed",
        )


def _cluster_id() -> str:
    """A random cluster id as Kafka writes them; one that began with '-' would be read as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _last_complaint(files: list[Path]) -> str:
    """The last line of the logs that names an error."""
    for file in files:
        if file.exists():
            lines = file.read_text("utf-8", "replace").splitlines()[-500:]
            for line in reversed(lines):
                # Said in passing at each start after a kill, see FormerSelf.
                if "DuplicateBrokerRegistration" not in line and any(
                    word in line for word in (" ERROR ", " FATAL ", "Exception", "Error")
                ):
                    return line[:300]
    return "the logs name no error"
