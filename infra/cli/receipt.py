"""`bianhe receipt`: the evidence of revocations (回执), and whether it still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.markup import escape

from bianhe.infra.cli.console import Exit, Output, OutputOption, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.settings import load
from bianhe.registry.policy.kafka import read_policy
from bianhe.registry.revocation import receipt as receipts
from bianhe.registry.revocation.kafka import gather
from bianhe.registry.revocation.lines import offsets
from bianhe.schemas.errors import Rejected
from bianhe.schemas.names import ADMIN_ACCOUNT
from bianhe.schemas.records.receipt import Receipt

app = typer.Typer(help="Receipts (回执): the evidence of revocations.", no_args_is_help=True)
_COLUMNS = ("number", "grant", "department", "resource", "ground", "policy", "last_offsets", "closed_at")
_SIGNS: Final = {True: "[green]✓[/]", False: "[bold red]✗[/]", None: "[dim]?[/]"}
Number = Annotated[str, typer.Argument(help="number of a receipt, such as R-2026-0007")]


class NoReceipt(Rejected):
    """A file that holds no receipt."""


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Show all receipts on the policy log."""
    show([_row(each) for each in receipts.receipts(read_policy(_admin()))], output, columns=_COLUMNS)


@app.command("show")
def show_(number: Number, output: OutputOption = Output.TABLE) -> None:
    """Show a receipt; with --output json as the document to hand out."""
    found = receipts.receipt(read_policy(_admin()), number)
    if output is Output.JSON:
        print(found.model_dump_json(indent=2))
        return
    show([{"what": name, "value": value} for name, value in _row(found).items()], output)


@app.command()
def verify(
    receipt: Annotated[str, typer.Argument(help="number of a receipt, or a file that holds one")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Find a receipt again in Kafka and the policy log alone; exit code 3 where something is otherwise."""
    admin = _admin()
    policy = read_policy(admin)
    claimed = _read(Path(receipt)) if Path(receipt).exists() else receipts.receipt(policy, receipt)
    checks = receipts.verify(claimed, policy, gather(admin, claimed))
    if output is Output.JSON:
        show([{"what": each.what, "holds": each.holds, "found": each.found} for each in checks], output)
    else:
        for each in checks:
            out.print(f"{_SIGNS[each.holds]} {escape(each.what)} [dim]· {escape(each.found)}[/]")
    if any(each.holds is False for each in checks):
        raise typer.Exit(Exit.DIFFERENCES)


def _admin() -> Connection:
    return component(load().kafka, ADMIN_ACCOUNT)


def _read(file: Path) -> Receipt:
    try:
        return Receipt.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise NoReceipt(f"{file} holds no receipt", cure="bianhe receipt show <number> --output json") from error


def _row(receipt: Receipt) -> dict[str, Any]:
    ends = {int(partition): end for partition, end in receipt.edge.items()}
    return {**receipt.model_dump(mode="json", exclude={"edge"}), "last_offsets": offsets(ends) or None}
