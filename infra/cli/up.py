"""`bianhe up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from typing import Annotated

import typer

from bianhe.infra.cli.bus import Bus
from bianhe.infra.cli.console import err, out
from bianhe.infra.cli.stopping import Stopping
from bianhe.infra.settings import data_home


def up(
    port: Annotated[
        int, typer.Option("--registry-port", min=1, max=65535, help="port of the registry on 127.0.0.1")
    ] = 8080,
    kafka_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="port of Kafka on 127.0.0.1; if left out one is chosen, and kept"),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Kafka's clients must speak TLS; the authority is made")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="how many workers route; if left out, as many as the cores share evenly")
    ] = None,
) -> None:
    """Start Kafka, the registry and the router on this machine; Ctrl-C stops them. Data is kept between starts."""
    # Until everything runs, Ctrl-C and kill alike break the start off and stop what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    address = f"http://127.0.0.1:{port}"

    def told(text: str) -> None:
        err.print(f"✓ {text}")

    # The monitors stand beside the way of the events: where their extra is not installed, everything else runs.
    monitors = find_spec("faust") is not None
    with Bus(
        data_home(), registry=address, kafka_port=kafka_port, workers=workers, tls=tls, monitors=monitors, told=told
    ) as bus:
        stopping = Stopping()
        out.print(f"Kafka    {bus.broker.bootstrap}\nregistry {address}\ndata     {data_home()}\nCtrl-C stops")
        bus.watch(stopping.wait)
    stopping.exit()
