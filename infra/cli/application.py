"""`bianhe application`: what departments ask for, and the answers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.cli.console import Exit, Output, OutputOption, err, out, show
from bianhe.infra.cli.policy import reached
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.catalog.sql import resource_of, show_contract
from bianhe.registry.catalog.sql import show as catalog_of
from bianhe.registry.sharing import sql
from bianhe.registry.sharing.application import Application, Request, State, days_to_answer
from bianhe.schemas.grant import CITY_TIME, Mask, parse_row_rule
from bianhe.schemas.names import GRANT_PREFIX

app = typer.Typer(help="Applications for sharing, and their answers.", no_args_is_help=True)
_COLUMNS = ("number", "department", "resource", "items", "state", "due", "grant")
Number = Annotated[str, typer.Argument(help="number of an application, such as A-2026-0042")]


@app.command()
def submit(  # noqa: PLR0913  an option of a command is a parameter
    department: Annotated[str, typer.Option(help="code of the department that asks")],
    resource: Annotated[str, typer.Option(help="code of the resource")],
    items: Annotated[str, typer.Option(help="items, with commas between; or: unconditional")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="last day of the term")],
    purpose: Annotated[str, typer.Option(help="使用用途, one of the catalog's purposes")] = "",
    basis: Annotated[str, typer.Option(help="使用依据")] = "",
    scenario: Annotated[str, typer.Option(help="使用场景")] = "",
    scope: Annotated[str, typer.Option(help="使用范围")] = "本部门履行职责范围内",
    where: Annotated[str, typer.Option(help="row rule: only the entities that are needed")] = "",
    changes: Annotated[str, typer.Option(help="the grant that the one asked for takes the place of")] = "",
    declare: Annotated[bool, typer.Option("--declare", help="all of it is true; the sharing office approves")] = False,
) -> None:
    """Apply for items of a resource. All that is missing is said at once."""
    database = engine(load().database)
    known = resource_of(catalog_of(database), resource)
    request = Request(
        department=department,
        resource=resource,
        items=known.unconditional if items == "unconditional" else _named(items),
        purpose=purpose,
        basis=basis,
        scenario=scenario,
        scope=scope,
        until=until.date(),
        row_rule=parse_row_rule(where) if where else (),
        changes=changes,
        declared=declare,
    )
    _tell(database, sql.submit(database, request, clock.now()))


@app.command("list")
def list_(
    state: Annotated[State | None, typer.Option(help="only those in this state")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show all applications."""
    show([_row(one) for one in sql.applications(engine(load().database), state)], output, columns=_COLUMNS)


@app.command("show")
def show_(number: Number, output: OutputOption = Output.TABLE) -> None:
    """Show an application, and the letter that answered it."""
    database = engine(load().database)
    found = sql.application(database, number)
    if output is Output.JSON:
        print(found.model_dump_json(indent=2))
        return
    show([_row(found)], output, columns=_COLUMNS)
    asked = found.request
    out.print(f"{asked.purpose} · {asked.basis} · {asked.scenario} · {asked.scope}", markup=False)
    out.print(f"items: {', '.join(asked.items)}")
    if found.state is not State.SUBMITTED:
        out.print("\n" + sql.letter(database, number), markup=False)


@app.command()
def decide(
    number: Number,
    agree: Annotated[bool, typer.Option("--agree/--refuse", help="grant it, or refuse it with a reason")],
    mask: Annotated[
        list[str] | None, typer.Option(help="item=null|constant:…|first:n|pseudonym|year; repeatable")
    ] = None,
    where: Annotated[str, typer.Option(help="row rule, such as: residence_division prefix 410212")] = "",
    reason: Annotated[str, typer.Option(help="why it is refused")] = "",
    by: Annotated[str, typer.Option(help="who decides; the provider if left out")] = "",
) -> None:
    """Answer an application as its provider. A grant follows from nothing else."""
    if reason if agree else (mask or where):
        err.print("--reason goes with --refuse, --mask and --where with --agree")
        raise typer.Exit(Exit.MISUSED)
    database = engine(load().database)
    decider = by or sql.provider_of(database, number)
    if agree:
        masks, row_rule = tuple(map(Mask.parse, mask or ())), parse_row_rule(where) if where else ()
        sql.agree(database, number, masks, row_rule, decider, clock.now())
    else:
        sql.refuse(database, number, reason, decider, clock.now())
    _tell(database, sql.application(database, number))


def _tell(database: Engine, answered: Application) -> None:
    if answered.state is State.SUBMITTED:
        provider = sql.provider_of(database, answered.number)
        title = catalog_of(database).title(provider)
        days = days_to_answer(answered.request, show_contract(database, answered.request.resource, answered.version))
        limit = f"{days} working day{'s' if days > 1 else ''}, 809 第二十一条{_provisional(answered)}"
        out.print(f"{answered.number}  submitted · {title} answers by {answered.due} ({limit})")
        return
    letter = _keep_letter(answered.grant or answered.number, sql.letter(database, answered.number))
    if answered.grant is None:
        out.print(f"{answered.number}  refused · letter: {letter}")
        return
    row = sql.grant(database, answered.grant)
    day = row.decided_at.astimezone(CITY_TIME)
    state = reached(lambda: sql.grant(database, row.grant.number).policy)
    rules = (
        f"{len(row.grant.items)} items, {len(row.grant.masks)} masked, {'1' if row.grant.row_rule else 'no'} row rule"
    )
    out.print(f"{row.grant.number}  decided {day:%Y-%m-%d} · {rules} · {state} · letter: {letter}")
    if changed := answered.request.changes:
        out.print(f"in the place of {changed}, which ends now: bianhe grant show {changed}")
    if row.topic.startswith(GRANT_PREFIX):
        out.print("the mailbox begins with the present state (SNAPSHOT), then follows every change")
    out.print("next: bianhe sync apply")


def _named(items: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in items.split(",") if name.strip()))


def _provisional(waiting: Application) -> str:
    return "; provisional: the holidays of that year are not known yet" if waiting.due_provisional else ""


def _keep_letter(number: str, text: str) -> Path:
    folder = load().home / "letters"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.txt"
    path.write_text(text, encoding="utf-8")
    return path


def _row(found: Application) -> dict[str, Any]:
    return {
        "number": found.number,
        "department": found.request.department,
        "resource": found.request.resource,
        "items": len(found.request.items),
        "until": found.request.until,
        "state": found.state.value,
        "due": found.due,
        "grant": found.grant,
        "reason": found.reason or None,
    }
