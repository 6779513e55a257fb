"""`bianhe subscribe`: what a department is delivered, as it arrives."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.markup import escape

from bianhe.consumers import Event, Subscriber
from bianhe.consumers.verification.judgement import Verdict, Verification
from bianhe.consumers.verification.kafka import verify
from bianhe.infra.cli.console import Exit, Output, OutputOption, err, out, show
from bianhe.infra.settings import Profile

_EXITS: Final = {Verdict.INVALID: Exit.FAILED, Verdict.UNKNOWN: Exit.DIFFERENCES, Verdict.VALID: Exit.DONE}
"""The worst first."""


def subscribe(
    profile: Annotated[Path, typer.Option(help="the department's profile")],
    resource: Annotated[list[str] | None, typer.Option(help="only this resource; may be given again")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="stop after so many events")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="wait for more until Ctrl-C")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="acknowledge nothing: check that all that was written lies there, rightly; exit code 1 if not, "
            "3 if it cannot be told",
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the events delivered since last time; each one printed is acknowledged, so it is not printed again."""
    if check:
        _verify(verify(Profile.read(profile), resource), output)
    count = 0
    with Subscriber.from_profile(profile, resource) as subscriber:
        try:
            for event in subscriber if follow else subscriber.drain():
                if output is Output.JSON:
                    print(json.dumps(facts(event), ensure_ascii=False, default=_text), flush=True)
                else:
                    out.print(escape(line(event)))
                count += 1
                if count == most:
                    subscriber.acknowledge()
                    break
        finally:
            err.print(f"{count:,} events")


def _verify(partitions: list[Verification], output: Output) -> NoReturn:
    """Show what became of each partition; exits with 1 where one is wrong, 3 where it cannot be told."""
    rows = [
        {
            "topic": each.topic,
            "partition": each.partition,
            "records": each.records,
            "last": each.last,
            "written": each.told.seq,
            "first_load": each.told.first_load and each.told.first_load.records,
            "verdict": each.verdict.value,
            "reasons": [*each.findings, *each.unknown],
        }
        for each in partitions
    ]
    show(rows, output, columns=[*rows[0]][:-1])
    if output is Output.TABLE:
        for each in partitions:
            for reason in (*each.findings, *each.unknown):
                out.print(escape(f"{each.topic}/{each.partition}: {reason}"))
    verdicts = {each.verdict for each in partitions}
    raise typer.Exit(next(code for verdict, code in _EXITS.items() if verdict in verdicts))


def facts(event: Event) -> dict[str, Any]:
    """An event as an object, its items beside its coordinates."""
    return {
        "resource": event.resource,
        "key": event.key,
        "kind": event.kind,
        "id": event.id,
        "time": event.time,
        "case": event.case,
        "items": event.items,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "bus_offset": event.source_offset,
        "bus_seq": event.seq,
        "bus_policy": event.policy,
    }


def line(event: Event) -> str:
    """An event in one line: where it lies, what happened to which entity, its items."""
    items = " · ".join(f"{name} {'–' if value is None else _text(value)}" for name, value in event.items.items())
    return f"{event.topic} {event.partition}:{event.offset}  {event.kind:<9}  {event.key}  {items}".rstrip()


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
