"""`bianhe transaction`: what hangs on the bus's topics, and how it is ended."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from bianhe.infra.cli.console import Exit, Output, OutputOption, out, show
from bianhe.infra.kafka import transactions
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import load
from bianhe.schemas.names import ADMIN_ACCOUNT, MANAGED_PREFIXES

app = typer.Typer(help="Transactions on the bus's topics that nobody can end any more.", no_args_is_help=True)
_COLUMNS: Final = ("topic", "partition", "offset", "producer_id", "epoch", "silent_seconds")


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Show the transactions that no coordinator of Kafka knows and no timeout ends."""
    found = transactions.hanging(_admin(), MANAGED_PREFIXES)
    show([{name: getattr(each, name) for name in _COLUMNS} for each in found], output, columns=_COLUMNS)


@app.command()
def abort(
    topic: Annotated[str, typer.Argument(help="a topic of the bus")],
    partition: Annotated[int, typer.Argument(help="the partition")],
    offset: Annotated[int, typer.Argument(help="its first record, as bianhe transaction list says it")],
) -> None:
    """End one that hangs: none of it counts. Any other transaction is left to its owner."""
    admin, place = _admin(), (topic, partition, offset)
    found = [
        each
        for each in transactions.hanging(admin, MANAGED_PREFIXES)
        if (each.topic, each.partition, each.offset) == place
    ]
    for each in found:
        transactions.abort(admin, each)
        out.print(f"aborted    {each}")
    if not found:
        out.print(f"no transaction hangs on {topic}/{partition} from offset {offset} on")
        raise typer.Exit(Exit.FAILED)


def _admin() -> Connection:
    return component(load().kafka, ADMIN_ACCOUNT)
