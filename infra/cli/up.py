"""`bianhe up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from bianhe.infra.cli.bus import Bus
from bianhe.infra.cli.console import err, out
from bianhe.infra.settings import data_home


def up(
    port: Annotated[int, typer.Option("--registry-port", help="port of the registry on 127.0.0.1")] = 8080,
) -> None:
    """Start Kafka, the registry and a router on this machine; Ctrl-C stops them. Data is kept between starts."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with Bus(data_home(), registry=f"http://127.0.0.1:{port}", told=lambda text: err.print(f"✓ {text}")) as bus:
        out.print(
            f"Kafka    {bus.broker.bootstrap}\nregistry http://127.0.0.1:{port}\ndata     {data_home()}\nCtrl-C stops"
        )
        bus.watch(stopping.wait)
