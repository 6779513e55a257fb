"""`bianhe doctor`: what is wrong with this bus, why, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import typer
from rich.markup import escape

from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.cli.examination import CHECKS, SETTINGS, examine
from bianhe.infra.cli.finding import Finding, State, exit_code
from bianhe.infra.cli.installation import Installation

_SIGNS: Final = {
    State.OK: "[green]✓[/]",
    State.WARNING: "[yellow]![/]",
    State.FAULT: "[bold red]✗[/]",
    State.UNKNOWN: "[dim]?[/]",
}
_WIDTH: Final = max(len(check.name) for check in CHECKS) + 2


def doctor(output: OutputOption = Output.TABLE) -> None:
    """Examine this bus, changing nothing; exit code 3 if something is wrong, 1 if there is no bus to examine."""
    findings = []
    with Installation() as installation:
        for finding in examine(installation, CHECKS):
            findings.append(finding)
            if output is Output.TABLE:
                _print(finding)
    if output is Output.JSON:
        show([asdict(finding) for finding in findings], output)
    raise typer.Exit(exit_code(findings, SETTINGS))


def _print(finding: Finding) -> None:
    out.print(f"{_SIGNS[finding.state]} {finding.check:{_WIDTH}}{escape(finding.fact)}")
    for word in ("cause", "cure"):
        if text := getattr(finding, word):
            out.print(f"  {'':{_WIDTH}}[dim]{word:6}[/]{escape(text)}")
