"""`bianhe sync`: the cluster follows the catalog."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bianhe.infra.cli.console import Exit, Output, OutputOption, err, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.contracts.sql import served
from bianhe.registry.sync import kafka
from bianhe.registry.sync.plan import Line, Plan
from bianhe.schemas.names import ADMIN_ACCOUNT

app = typer.Typer(help="Compare the cluster with the catalog, and make them equal.", no_args_is_help=True)
_COLUMNS = ("sign", "kind", "what", "reason")


@app.command()
def prepare() -> None:
    """Make what a new cluster lacks before its registry can start: the bus's topics, accounts and keys; once."""
    settings = load()
    kafka.prepare(component(settings.kafka, ADMIN_ACCOUNT), settings.kafka.secrets)
    out.print(f"passwords and keys are in {settings.kafka.secrets}; who needs which: infra/docs/production.md")


@app.command()
def plan(output: OutputOption = Output.TABLE) -> None:
    """Show what differs between catalog and cluster; exit code 3 if anything does."""
    settings = load()
    found = kafka.plan_cluster(component(settings.kafka, ADMIN_ACCOUNT), served(engine(settings.database)))
    _show(found, found.summary, output)
    if found.differs:
        raise typer.Exit(Exit.DIFFERENCES)


@app.command()
def apply(output: OutputOption = Output.TABLE) -> None:
    """Close what no grant carries, open what a decision gave; exit code 3 if something is left for a person."""
    settings = load()
    connection = component(settings.kafka, ADMIN_ACCOUNT)
    found = kafka.plan_cluster(connection, served(engine(settings.database)))
    bar = (TextColumn("syncing"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=err, disable=not found.steps, transient=True) as progress:
        task = progress.add_task("", total=len(found.steps))
        kafka.apply(connection, found.steps, settings.kafka.secrets, lambda step: progress.advance(task))
    _show(found, found.outcome, output)
    if found.for_a_person:
        raise typer.Exit(Exit.DIFFERENCES)


def _show(found: Plan, counts: str, output: Output) -> None:
    show(_rows((*found.lines, *found.foreign)), output, columns=_COLUMNS)
    if output is Output.TABLE:
        out.print(counts)


def _rows(lines: Iterable[Line]) -> list[dict[str, str]]:
    return [{"sign": line.sign, "kind": line.kind, "what": line.text, "reason": line.reason} for line in lines]
