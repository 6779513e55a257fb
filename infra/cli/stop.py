"""`bianhe stop`: break-glass. One person stops a department or a resource; a second one ratifies or lifts it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from bianhe.infra import clock
from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.cli.policy import reached
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.clocks.sql import calendar
from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.policy.kafka import read_policy, signing_key
from bianhe.registry.policy.sql import highest_of
from bianhe.registry.sql import transaction
from bianhe.registry.stops import kafka
from bianhe.registry.stops.stop import in_force
from bianhe.registry.stops.stop import lift as lifting
from bianhe.registry.stops.stop import ratify as ratifying
from bianhe.schemas.errors import BusError
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.names import ADMIN_ACCOUNT, BREAK_GLASS_ACCOUNT
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.policy import Body, Target
from bianhe.schemas.signatures import Role

app = typer.Typer(help="Stop a department or a resource at once (break-glass).", no_args_is_help=True)
TargetArgument = Annotated[Target, typer.Argument(help="department or resource")]
Code = Annotated[str, typer.Argument(help="its code")]
Reason = Annotated[str, typer.Option(help="why; the second person reads it")]
By = Annotated[str, typer.Option("--by", help="who decides")]


@app.command()
def department(code: Code, reason: Reason, by: By) -> None:
    """Deliver nothing more to a department, and close all its access, at once; needs no database."""
    _stop(Target.DEPARTMENT, code, reason, by)


@app.command()
def resource(code: Code, reason: Reason, by: By) -> None:
    """Route nothing more of a resource, and let nobody read it, at once; needs no database."""
    _stop(Target.RESOURCE, code, reason, by)


@app.command()
def ratify(target: TargetArgument, code: Code, by: By) -> None:
    """Stand by a stop, as a second person, within a working day."""
    out.print(f"ratified   {target} {code} · {_answer(lambda policy: ratifying(policy, target, code, by))}")


@app.command()
def lift(target: TargetArgument, code: Code, by: By) -> None:
    """End a stop, as a second person; what was kept back is delivered. Then: bianhe sync apply.

    Refused where a mailbox stood still for more than 90 days: its grant is revoked first, and applied for again.
    """
    out.print(f"lifted     {target} {code} · {_answer(lambda policy: lifting(policy, target, code, by, clock.now()))}")
    out.print("access rules come back with bianhe sync apply")


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Show what stands still, by whose word, and what a second person has yet to answer."""
    settings = load()
    today = clock.now().astimezone(CITY_TIME).date()
    rows = [
        {
            "stopped": f"{each.stop.stopped.target} {each.stop.stopped.code}",
            "since": each.stop.since.at.astimezone(CITY_TIME).isoformat(timespec="minutes"),
            "by": each.stop.stopped.decided_by,
            "reason": each.stop.stopped.reason,
            "ratified_by": each.stop.ratified.decided_by if each.stop.ratified else None,
            "due": None if each.ratified else f"{each.due.day}{' (overdue)' if each.overdue(today) else ''}",
            "policy": each.stop.since.version,
        }
        for each in in_force(read_policy(component(settings.kafka, ADMIN_ACCOUNT)), _working_days())
    ]
    show(rows, output, columns=("stopped", "since", "by", "reason", "ratified_by", "due"))


def _stop(target: Target, code: str, reason: str, by: str) -> None:
    settings = load()
    key = signing_key(settings.kafka.secrets, Role.BREAK_GLASS)
    account = component(settings.kafka, BREAK_GLASS_ACCOUNT)
    number = kafka.stop(account, key, target, code, reason, by, clock.now())
    out.print(f"stopped    {target} {code} · policy {number}")
    if not (settings.kafka.secrets / ADMIN_ACCOUNT).exists():
        out.print("access rules stand until bianhe sync apply runs where the administrator's account is")
        return
    count = kafka.close(component(settings.kafka, ADMIN_ACCOUNT), settings.kafka.secrets)
    out.print(f"closed     {count} access rules · a second person ratifies or lifts it within a working day")


def _answer(decided: Callable[[Policy], Body]) -> str:
    settings = load()
    database = engine(settings.database)
    row = kafka.answer(component(settings.kafka, ADMIN_ACCOUNT), database, decided, clock.now())
    return reached(partial(highest_of, database, [row]))


def _working_days() -> Calendar:
    """The calendar, or plain weeks where the database does not answer: what is stopped is to be seen even then."""
    try:
        with transaction(engine(load().database)) as connection:
            return calendar(connection)
    except BusError:
        return Calendar()
