"""`bianhe demo`: the main job on a real broker, told and recounted."""

from __future__ import annotations

import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bianhe.infra.cli.bus import Bus
from bianhe.infra.cli.console import Exit, Output, OutputOption
from bianhe.infra.demo.files import forget_settings, fresh_folder
from bianhe.infra.demo.screens import Screen
from bianhe.infra.demo.story import facts, tell
from bianhe.infra.embedded.data_directory import PORTS_FREE
from bianhe.infra.settings import data_home


def demo(
    events: Annotated[int, typer.Option(min=2, help="events that each of the four providers publishes")] = 10_000,
    seed: Annotated[int, typer.Option(help="which invented city")] = 1,
    home: Annotated[Path | None, typer.Option(help="folder of the demo, emptied at the start")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the whole story on a real broker with invented data (模拟数据); 0 only if every number is right."""
    begun = time.monotonic()
    # Ctrl-C and kill alike: everything that was started is stopped in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = home or data_home() / "demo"
    forget_settings()
    screen = Screen(Console(stderr=output is Output.JSON, width=_width(), highlight=False))
    registry = f"http://127.0.0.1:{_free_port()}"
    with fresh_folder(folder) as place, Bus(place, registry=registry, told=screen.told) as bus:
        outcome = tell(bus, place, events, seed, screen)
    screen.end(outcome.differences, time.monotonic() - begun)
    if output is Output.JSON:
        print(facts(outcome))
    if not outcome.succeeded:
        raise typer.Exit(Exit.FAILED)


def _width() -> int | None:
    """As wide as the terminal; where there is none, wide enough for the tables."""
    return None if sys.stderr.isatty() else 160


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            port = random.choice(PORTS_FREE)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
