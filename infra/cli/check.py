"""`bianhe check`: did this bus keep its promises? An independent program reads the raw logs and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bianhe.consumers.checker import kafka
from bianhe.consumers.checker.findings import MEANINGS, Finding, Floor, Report, Verdict
from bianhe.consumers.checker.judgement import check as judge
from bianhe.consumers.checker.streams import Dump
from bianhe.infra.cli.console import Exit, Output, OutputOption, err, out, show
from bianhe.infra.kafka.components import component, policy_keys
from bianhe.infra.processes import worker_pool
from bianhe.infra.settings import Settings, load, read_secret
from bianhe.registry.accounts.kafka import lent
from bianhe.schemas.names import ADMIN_ACCOUNT, CHECKER_ACCOUNT

_EXITS: Final = {Verdict.VALID: Exit.DONE, Verdict.INVALID: Exit.FAILED, Verdict.UNKNOWN: Exit.DIFFERENCES}
_SHOWN: Final = 20

FolderArgument = Annotated[Path | None, typer.Argument(help="a dump to judge instead of the running bus")]
DumpOption = Annotated[
    Path | None, typer.Option("--dump", help="write a dump into this new folder; it holds personal data")
]
FloorOption = Annotated[
    int, typer.Option("--at-least", help="deliveries to be checked before the verdict can be valid")
]


def check(
    folder: FolderArgument = None,
    dump: DumpOption = None,
    at_least: FloorOption = 1,
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge from the raw logs whether this bus kept its promises; exit code 1 if not, 3 if it cannot be told."""
    settings, floor = load(), Floor(deliveries=at_least)
    key = _pseudonym_key(settings)
    if folder is None:
        with lent(component(settings.kafka, ADMIN_ACCOUNT), CHECKER_ACCOUNT) as connection:
            if dump is None:
                with judging() as told:
                    report = kafka.check_cluster(connection, key, floor, told)
            else:
                kafka.dump_cluster(connection, dump)
                err.print(f"dump written to {dump}; it holds personal data")
    if (dumped := folder or dump) is not None:
        keys = policy_keys(settings.kafka.secrets)
        with judging() as told:
            report = judge(Dump(dumped), key, floor, policy_keys=keys, pool=worker_pool, told=told)
    _print(report, output)
    raise typer.Exit(_EXITS[report.verdict])


@contextmanager
def judging() -> Iterator[Callable[[int, int], None]]:
    """Show how many source partitions are judged, where a person watches."""
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TextColumn("source partitions"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _pseudonym_key(settings: Settings) -> bytes | None:
    file = settings.kafka.secrets / "pseudonym-key"
    return bytes.fromhex(read_secret(file).get_secret_value()) if file.exists() else None


def _print(report: Report, output: Output) -> None:
    if output is Output.JSON:
        show([_document(report)], output)
        return
    rows = [
        {"judgement": kind, "checked": f"{report.checked[kind]:,}", "found": report.found[kind], "law": law}
        for kind, law in MEANINGS.items()
    ]
    show(rows, output)
    for finding in report.findings[:_SHOWN]:
        out.print(f"[bold red]✗[/] {escape(str(finding))}")
    if len(report.findings) > _SHOWN:
        out.print(f"[dim]… {len(report.findings) - _SHOWN} more with --output json[/]")
    for reason in report.unknown:
        out.print(f"[dim]?[/] {escape(reason)}")
    out.print(f"[bold]{report.verdict}[/]")


def _document(report: Report) -> dict[str, Any]:
    return {
        "verdict": report.verdict,
        "checked": {kind: report.checked[kind] for kind in MEANINGS},
        "found": {kind: report.found[kind] for kind in MEANINGS},
        "findings": [_evidence(finding) for finding in report.findings],
        "unknown": report.unknown,
    }


def _evidence(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "law": MEANINGS[finding.kind]}
