"""`bianhe grant`: what decisions gave, and its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.session import check_login
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.catalog.sql import check_known
from bianhe.registry.revocation import kafka
from bianhe.registry.revocation import sql as decisions
from bianhe.registry.revocation.lines import line
from bianhe.registry.sharing import sql
from bianhe.registry.sharing.grant import GrantRow
from bianhe.registry.sharing.grounds import codes
from bianhe.schemas.names import ADMIN_ACCOUNT
from bianhe.schemas.policy import GrantState

app = typer.Typer(help="Grants: what decisions gave.", no_args_is_help=True)
_COLUMNS = ("number", "department", "resource", "items", "masks", "row_rule", "state")
Number = Annotated[str, typer.Argument(help="number of a grant, such as G-2026-0031")]


@app.command("list")
def list_(
    department: Annotated[str | None, typer.Option(help="only grants of this department")] = None,
    resource: Annotated[str | None, typer.Option(help="only grants on this resource")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show all grants."""
    database = engine(load().database)
    rows = sql.grants(database, department, resource)
    if not rows:
        check_known(database, department, resource)
    show([_row(row) for row in rows], output, columns=_COLUMNS)


@app.command("show")
def show_(number: Number, output: OutputOption = Output.TABLE) -> None:
    """Show a grant, and the letter that gave it."""
    database = engine(load().database)
    row = sql.grant(database, number)
    if output is Output.JSON:
        print(row.grant.model_dump_json(indent=2))
        return
    show([_row(row)], output, columns=_COLUMNS)
    out.print("\n" + sql.letter(database, number), markup=False)


@app.command()
def revoke(
    number: Number,
    ground: Annotated[str, typer.Option(help=f"why it ends: {codes()}")] = "",
    by: Annotated[str, typer.Option(help="who decides; the provider if left out")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="delete what lies in its mailbox too")] = False,
    watch: Annotated[bool, typer.Option(help="show the steps until nothing can be read, or decide only")] = True,
    wait: Annotated[float, typer.Option(help="seconds to watch one step; the registry goes on without")] = 30.0,
) -> None:
    """End a grant, on a ground that the law knows; the registry carries it out and gives a receipt."""
    database, admin, decider = _deciding(number, by)
    row = sql.revoke(database, number, ground, decider, clock.now(), withdraw=withdraw)
    out.print(f"{number}  {row.ground}")
    if watch:
        _follow(admin, database, number, GrantState.CLOSED, wait)


@app.command()
def suspend(
    number: Number,
    ground: Annotated[str, typer.Option(help=f"why it stands still: {codes('suspend')}")],
    correct_by: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="day by which it is to be put right")],
    by: Annotated[str, typer.Option(help="who decides; the provider if left out")] = "",
    wait: Annotated[float, typer.Option(help="seconds to watch one step; the registry goes on without")] = 30.0,
) -> None:
    """Let a grant stand still until what is wrong is put right: nothing is delivered, its position is kept."""
    database, admin, decider = _deciding(number, by)
    decisions.suspend(database, number, ground, correct_by.date(), decider, clock.now())
    _follow(admin, database, number, GrantState.SUSPENDED, wait)


@app.command()
def resume(
    number: Number,
    by: Annotated[str, typer.Option(help="who decides; the provider if left out")] = "",
    wait: Annotated[float, typer.Option(help="seconds to watch one step; the registry goes on without")] = 30.0,
) -> None:
    """Let a suspended grant go on from where it stood still; what it missed is delivered first."""
    database, admin, decider = _deciding(number, by)
    decisions.resume(database, number, decider, clock.now())
    _follow(admin, database, number, GrantState.ACTIVE, wait)


def _deciding(number: str, by: str) -> tuple[Engine, Connection, str]:
    settings = load()
    database = engine(settings.database)
    row = sql.grant(database, number)
    admin = component(settings.kafka, ADMIN_ACCOUNT)
    # A decision that could not even begin is none: without a broker nothing is recorded.
    check_login(admin)
    return database, admin, by or sql.provider_of(database, row.application)


def _follow(admin: Connection, database: Engine, number: str, until: GrantState, wait: float) -> None:
    for step in kafka.watch(admin, database, number, wait, until):
        if text := line(step):
            out.print(text)


def _row(row: GrantRow) -> dict[str, Any]:
    return {
        "number": row.grant.number,
        "department": row.grant.department,
        "resource": row.grant.resource,
        "items": len(row.grant.items),
        "masks": ", ".join(map(str, row.grant.masks)) or None,
        "row_rule": " and ".join(map(str, row.grant.row_rule)) or None,
        "until": row.grant.until,
        "topic": row.topic,
        "state": row.state.value,
        "policy": row.policy,
        "ground": row.suspension.ground if row.suspension else row.ground,
        "correct_by": row.suspension.correct_by if row.suspension else None,
    }
