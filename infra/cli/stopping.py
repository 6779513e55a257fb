"""How a command that runs until Ctrl-C hears it."""

from __future__ import annotations

import signal
import threading

import typer

from bianhe.infra.cli.console import Exit


class Stopping:
    """Hears Ctrl-C and SIGTERM from now on, in place of what they would do."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._heard = set[int]()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def wait(self, seconds: float) -> bool:
        """Whether one of them came, after at most so long."""
        return self._event.wait(seconds)

    def exit(self) -> None:
        """End the command, once it has cleaned up, with the code that says whether it was Ctrl-C."""
        if signal.SIGINT in self._heard:
            raise typer.Exit(Exit.INTERRUPTED)

    def _hear(self, number: int, _: object) -> None:
        self._heard.add(number)
        self._event.set()
