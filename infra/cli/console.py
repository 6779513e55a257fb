"""How a command speaks: tables or JSON on standard output, errors with cause and cure on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bianhe.schemas.errors import BusError


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    MISUSED = 2
    DIFFERENCES = 3
    INTERRUPTED = 130


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="table for people, json for programs")]

out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def show(rows: Sequence[dict[str, Any]], output: Output, *, columns: Iterable[str] | None = None) -> None:
    """Print rows: all their facts as JSON, the named columns (default: all) as a table."""
    if output is Output.JSON:
        print(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    names = list(columns or (rows[0] if rows else ()))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    out.print(table)


def _cell(fact: object) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "" if fact is None else escape(str(fact))


def explain(error: BusError) -> None:
    """Print an error with its cause and cure; never a traceback."""
    for word, text in error.lines:
        err.print(f"[bold{' red' if word == 'error' else ''}]{word:5}[/]  {escape(text)}")
