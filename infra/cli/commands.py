"""The commands and their help; the module of one is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from bianhe.infra.cli.console import Exit, explain, out
from bianhe.schemas.errors import BusError

COMMANDS: Final = {
    "up": "Start Kafka, the registry and the router on this machine; Ctrl-C stops them. Data is kept between starts.",
    "demo": "Tell the whole story on a real broker with invented data (模拟数据); 0 only if every number is right.",
    "status": "Show processes, rates, the router's position, what waits for subscribers, freshness and alerts.",
    "doctor": "Examine this bus, changing nothing; exit code 3 if something is wrong, 1 if there is no bus to examine.",
    "check": "Judge from the raw logs whether this bus kept its promises; exit code 1 if not, 3 if it cannot be told.",
    "router": "Run the router's workers of this machine; those of all machines are one group.",
    "bench": "How fast this product is on this machine, as ratios within one run.",
    "publish": "Publish the rows of a CSV or JSON Lines file; columns are the items of the contract.",
    "subscribe": "Print the events delivered since last time; each one printed is acknowledged.",
    "account": "Accounts on Kafka and at the registry.",
    "pki": "Certificates of the brokers' listeners, from an authority of our own.",
    "profile": "Profiles (接入配置): what a department's client starts with.",
    "application": "Applications for sharing, and their answers.",
    "catalog": "The catalog: departments, resources and items.",
    "contract": "Contracts: the Avro schemas of the resources.",
    "grant": "Grants: what decisions gave.",
    "policy": "The policy log: the one order of all decisions.",
    "receipt": "Receipts (回执): the evidence of revocations.",
    "quarantine": "Quarantine (隔离): events that cannot be trusted.",
    "signing": "The keys that sign the policy log.",
    "stop": "Stop a department or a resource at once (break-glass).",
    "transaction": "Transactions on the bus's topics that nobody can end any more.",
    "sync": "Compare the cluster with the catalog, and make them equal.",
}
"""What `bianhe --help` lists; each command is the module of its name, with an `app` or a function of that name."""


class Commands(TyperGroup):
    """Imports the module of a command when it is called; to import all of them takes more than a second."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.commands.update((name, TyperCommand(name, help=text)) for name, text in COMMANDS.items())

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and command(str(listed.name)), rest


def command(name: str) -> Any:
    """The command itself, its module imported."""
    module, one = import_module(f"{__package__}.{name}"), typer.Typer()
    if hasattr(module, "app"):
        one.add_typer(module.app, name=name)
    else:
        one.command(name)(getattr(module, name))
    return typer.main.get_group(one).commands[name]


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"bianhe {metadata.version('bianhe')}")
        raise typer.Exit(Exit.DONE)


app = typer.Typer(name="bianhe", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


VersionOption = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")]


@app.callback()
def bianhe(version: VersionOption = False) -> None:
    """Bianhe (汴河), the data exchange bus of a city."""


def run() -> None:
    """Run the command of this process; an expected fault is explained."""
    try:
        app()
    except BusError as error:
        explain(error)
        sys.exit(Exit.FAILED)
