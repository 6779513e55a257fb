"""Real worker processes that can be killed, stopped and doubled; what ended is started anew as a supervisor would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bianhe.infra.embedded.children import RESTART_SECONDS


class Workers:
    """The workers of a city by number. They die with the thread that started them."""

    def __init__(self, logs: Path, environment: Mapping[str, str], count: int) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._started = dict.fromkeys(range(count), 0.0)
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._away: set[int] = set()
        self._rogues: list[subprocess.Popen[bytes]] = []
        self.ended: Counter[int] = Counter()
        """By exit code: how often a worker ended."""

    def revive(self) -> None:
        """Start what is wanted and does not run, but no worker twice within a second."""
        for number, process in list(self._running.items()):
            if process.poll() is not None:
                self.ended[process.returncode] += 1
                del self._running[number]
        for number, started in self._started.items():
            if number in self._running or number in self._away or time.monotonic() - started < RESTART_SECONDS:
                continue
            self._running[number] = self._launched(number)
            self._started[number] = time.monotonic()

    def signal(self, number: int, signal_number: signal.Signals) -> bool:
        """Whether there was a worker to send it to."""
        process = self._running.get(number)
        if process is None or process.poll() is not None:
            return False
        process.send_signal(signal_number)
        return True

    def leave(self, number: int) -> bool:
        """End in good order and stay away until `join`."""
        self._away.add(number)
        return self.signal(number, signal.SIGTERM)

    def join(self, number: int) -> None:
        self._away.discard(number)

    def double(self, number: int) -> None:
        """Start a second process of the same number, which nobody starts anew."""
        self._rogues.append(self._launched(number))

    def stop(self) -> None:
        """End all: in good order, or by force."""
        running = [*self._running.values(), *self._rogues]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _launched(self, number: int) -> subprocess.Popen[bytes]:
        tether = [sys.executable, "-m", "bianhe.infra.embedded.tether", str(os.getpid()), "--"]
        with (self._logs / f"router-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [*tether, sys.executable, "-m", "bianhe.consumers.router", str(number)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
