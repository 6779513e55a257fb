"""`bianhe account`: who can log in to Kafka, and new passwords."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bianhe.infra import clock
from bianhe.infra.cli.console import Exit, Output, OutputOption, err, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.session import check_login
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.accounts import kafka
from bianhe.registry.revocation import kafka as revocations
from bianhe.registry.revocation import sql as decisions
from bianhe.registry.revocation.lines import line
from bianhe.registry.sharing.grounds import codes as grounds
from bianhe.registry.sync import kafka as sync
from bianhe.schemas.names import ADMIN_ACCOUNT, BUS_ACCOUNTS

app = typer.Typer(help="Accounts on Kafka and at the registry.", no_args_is_help=True)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Show every account of the catalog, and whether it can log in."""
    accounts = kafka.list_accounts(component(load().kafka, ADMIN_ACCOUNT))
    show([asdict(account) for account in accounts], output)


@app.command()
def rotate(
    codes: Annotated[list[str], typer.Argument(help="one or more accounts")],
    to: Annotated[Path | None, typer.Option(help="file for the password, of one account only")] = None,
    show_it: Annotated[bool, typer.Option("--show", help="print the password too, on a terminal only")] = False,
) -> None:
    """Give accounts new random passwords, each written to a file that its owner alone can read."""
    if (to and len(codes) > 1) or (show_it and not sys.stdout.isatty()):
        err.print("--to takes one account, and --show needs a terminal")
        raise typer.Exit(Exit.MISUSED)
    settings = load()
    connection = component(settings.kafka, ADMIN_ACCOUNT)
    files = {
        code: to or (settings.kafka.secrets if code in BUS_ACCOUNTS else settings.home / "secrets") / code
        for code in codes
    }
    for code, password in kafka.rotate(connection, engine(settings.database), files).items():
        out.print(f"{code}  new password in {files[code]}" + (f"  {password.get_secret_value()}" if show_it else ""))


@app.command()
def disable(
    code: Annotated[str, typer.Argument(help="a department")],
    ground: Annotated[str, typer.Option(help=f"why its grants end: {grounds()}")],
    by: Annotated[str, typer.Option(help="who decides")],
    wait: Annotated[float, typer.Option(help="seconds to watch one step; the registry goes on without")] = 30.0,
) -> None:
    """End every grant of a department and shut its account: on Kafka, and at the registry."""
    settings = load()
    database, admin = engine(settings.database), component(settings.kafka, ADMIN_ACCOUNT)
    check_login(admin)
    rows = decisions.disable(database, code, ground, by, clock.now())
    revocations.await_disabled(admin, code, wait)
    sync.close_account(admin, code, settings.kafka.secrets)
    out.print(f"{code}  disabled: no new login; one that is open ends within a minute")
    for row in rows:
        for step in revocations.watch(admin, database, row.grant.number, wait):
            if text := line(step):
                out.print(f"{row.grant.number}  {text}")


@app.command()
def enable(code: Annotated[str, typer.Argument(help="a department")]) -> None:
    """Enable a department's account again; it needs a new password, and its grants stay ended."""
    decisions.enable(engine(load().database), code, clock.now())
    out.print(f"{code}  enabled · bianhe account rotate {code} issues a password")
