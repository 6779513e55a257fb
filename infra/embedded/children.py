"""The processes of an embedded bus: started tethered to this one, started anew when they end, stopped in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 15.0
RESTART_SECONDS: Final = 1.0
"""A process that ends is started anew, but not faster than this."""
REST_SECONDS: Final = 30.0
"""One that ended with EX_TEMPFAIL rests: two that shut each other out would make no progress."""


@dataclass
class Child:
    """One process, by the name of its log file."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    started: float
    ended: float = 0.0
    """When it was found ended, 0 while it runs."""


class Children:
    """Python processes of the bus, each with a log file. They die with the thread that started them (Linux)."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._children: dict[str, Child] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Run `python -m <arguments>`."""
        self._children[name] = Child(name, arguments, self._launched(name, arguments), time.monotonic())

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    def kill(self, name: str) -> None:
        """End a process at once, as a power failure would; `revive` starts it anew."""
        self._children[name].process.kill()
        self._children[name].process.wait()

    def revive(self) -> list[str]:
        """Start anew what ended by itself; tells the names."""
        revived = []
        for child in self._children.values():
            code, now = child.process.poll(), time.monotonic()
            if code is None:
                continue
            child.ended = child.ended or now
            rest = REST_SECONDS if code == os.EX_TEMPFAIL else 0.0
            if now - child.started >= RESTART_SECONDS and now - child.ended >= rest:
                child.process, child.started = self._launched(child.name, child.arguments), time.monotonic()
                child.ended = 0.0
                revived.append(child.name)
        return revived

    def ended(self, name: str) -> bool:
        return self._children[name].process.poll() is not None

    def stop(self) -> None:
        """End all in good order, the last started first; by force after some seconds."""
        for child in reversed(self._children.values()):
            child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            try:
                child.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def _launched(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [sys.executable, "-m", "bianhe.infra.embedded.tether", str(os.getpid()), "--"]
        with self.log(name).open("ab") as log:
            return subprocess.Popen(
                [*command, sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C in the terminal reaches the supervisor alone, which stops its children in order.
                start_new_session=True,
            )
