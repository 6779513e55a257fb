"""`bianhe router`: the workers of one machine, started anew when they end, until Ctrl-C."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bianhe.consumers.router.workers import worker_count
from bianhe.infra.cli.console import err
from bianhe.infra.cli.stopping import Stopping
from bianhe.infra.embedded.children import Children
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.session import check_login
from bianhe.infra.settings import load
from bianhe.schemas import names
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.signatures import PinnedKeys

First = Annotated[
    int, typer.Option(min=0, help="number of this machine's first worker; each number runs once in the city")
]
Workers = Annotated[int | None, typer.Option(min=1, help="how many; left out, as many as the cores share evenly")]


def router(first: First = 0, workers: Workers = None) -> None:
    """Run the router's workers of this machine; those of all machines are one group."""
    settings = load()
    partitions = _partitions(component(settings.kafka, names.ROUTER_ACCOUNT))
    children = Children(settings.home / "logs", {})
    stopping = Stopping()
    for worker in range(first, first + (workers or worker_count(os.cpu_count() or 1, partitions))):
        children.start(f"router-{worker}", "bianhe.consumers.router", str(worker))
        err.print(f"✓ {names.router_transactional_id(worker)}; see {children.log(f'router-{worker}')}")
    while not stopping.wait(0.5):
        for name in children.revive():
            err.print(f"{name} ended and was started again; see {children.log(name)}")
    children.stop()
    stopping.exit()


def _partitions(connection: Connection) -> list[int]:
    """How many each source has; a router's account reads the log in its own group only."""
    check_login(connection)
    with LogReader(connection, names.POLICY, 0, group=names.ROUTER_GROUP) as reader:
        keys = PinnedKeys.parse(connection.policy_keys)
        policy = fold(EMPTY, keys.read(entry.value for entry in reader.stream_to_end()))
    return [resource.partitions for resource in policy.resources.values()]
