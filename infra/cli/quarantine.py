"""`bianhe quarantine`: what the router did not trust (隔离), and how a source goes on that stands still for it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from bianhe.infra import clock
from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.cli.policy import reached
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.policy.sql import highest_of
from bianhe.registry.quarantine import kafka
from bianhe.schemas.names import ADMIN_ACCOUNT

app = typer.Typer(help="Quarantine (隔离): events that cannot be trusted.", no_args_is_help=True)
_COLUMNS = ("topic", "partition", "offset", "reason", "size", "digest")
ResourceOption = Annotated[str | None, typer.Option("--resource", help="only events of this resource")]


@app.command("list")
def list_(resource: ResourceOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the last events that were quarantined: where they stand, why, and their digest."""
    notes = kafka.noted(_admin(), lambda topic: resource in (None, topic.split(".")[1]))
    if resource is not None and not notes:
        kafka.check_resource(read_policy(_admin()), resource)
    show([{name: getattr(note, name) for name in _COLUMNS} for note in notes], output, columns=_COLUMNS)


@app.command()
def release(
    resource: Annotated[str, typer.Argument(help="a resource whose source stands still")],
    reason: Annotated[str, typer.Option(help="why it may go on; stands on the policy log")],
    by: Annotated[str, typer.Option("--by", help="who decides")],
) -> None:
    """Let a source that stands still go on: what is bad of all that stands there now is quarantined."""
    admin, database = _admin(), engine(load().database)
    policy = read_policy(admin)
    kafka.check_resource(policy, resource)
    stopped = [each for each in kafka.standing(admin, policy) if each.resource == resource]
    rows = kafka.release(admin, database, stopped, reason, by, clock.now())
    for each in stopped:
        out.print(f"released   {each.topic}/{each.partition} at {each.standstill.position}")
    out.print(reached(partial(highest_of, database, rows)) if stopped else f"nothing of {resource} stands still")


def _admin() -> Connection:
    return component(load().kafka, ADMIN_ACCOUNT)
