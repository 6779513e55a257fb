"""`bianhe contract`: what the events of a resource look like."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.catalog import sql
from bianhe.schemas.contract import Contract

app = typer.Typer(help="Contracts: the Avro schemas of the resources.", no_args_is_help=True)
_COLUMNS = ("item", "title", "type", "part", "sharing", "sensitivity")


@app.callback()
def contracts() -> None:
    """Keep `show` a command of its own."""


@app.command("show")
def show_(
    resource: Annotated[str, typer.Argument(help="code of a resource, such as population")],
    version: Annotated[int | None, typer.Option(help="version of the contract; the present one if left out")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the items of a contract; as JSON, its Avro schema."""
    contract = sql.show_contract(engine(load().database), resource, version)
    if output is Output.JSON:
        print(json.dumps(contract.schema, ensure_ascii=False, indent=2))
        return
    out.print(
        f"{contract.title} {contract.resource}.v{contract.version} · entity key from {', '.join(contract.key.items)}"
    )
    show(_items(contract), output, columns=_COLUMNS)


def _items(contract: Contract) -> list[dict[str, Any]]:
    return [
        {
            "item": item.name,
            "title": item.title,
            "code": item.code,
            "type": item.kind + (" or null" if item.nullable else ""),
            "part": item.part.value,
            "sharing": item.sharing.chinese,
            "sensitivity": item.sensitivity,
            "checked_by": item.codes or item.check,
        }
        for item in contract.items
    ]
