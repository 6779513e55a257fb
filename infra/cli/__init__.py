"""The command line: each command parses, calls one room and prints."""

from __future__ import annotations

import sys

import typer

from bianhe.infra.cli import account, application, catalog, contract, demo, grant, profile, publish, subscribe, sync, up
from bianhe.infra.cli.console import Exit, err, explain
from bianhe.schemas.errors import BusError

app = typer.Typer(
    name="bianhe",
    help="Bianhe (汴河), the data exchange bus of a city.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(publish.publish)
app.command()(subscribe.subscribe)
app.add_typer(account.app, name="account")
app.add_typer(profile.app, name="profile")
app.add_typer(application.app, name="application")
app.add_typer(catalog.app, name="catalog")
app.add_typer(contract.app, name="contract")
app.add_typer(grant.app, name="grant")
app.add_typer(sync.app, name="sync")


def main() -> None:
    """Run the command line; an expected fault is explained, never traced."""
    try:
        app()
    except BusError as error:
        explain(error)
        sys.exit(Exit.FAILED)
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)
