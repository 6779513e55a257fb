"""`bianhe catalog`: departments, resources and items."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from bianhe.infra import clock
from bianhe.infra.cli.console import Exit, Output, OutputOption, out, show
from bianhe.infra.cli.policy import reached
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.catalog import sql
from bianhe.registry.catalog.entry import Catalog, Resource
from bianhe.registry.catalog.file import read_catalog
from bianhe.registry.policy.sql import highest_of
from bianhe.schemas.errors import Fault

app = typer.Typer(help="The catalog: departments, resources and items.", no_args_is_help=True)
_RESOURCE = ("code", "title", "provider", "sharing", "items", "contract")
_ITEM = ("item", "title", "part", "sharing", "basis")
File = Annotated[
    Path,
    typer.Argument(
        help="a catalog in TOML, such as infra/demo/catalog.toml; beside it <resource>.v<version>.avsc, the contracts "
        "that do not ship with the bus"
    ),
]


@app.command("import")
def import_(file: File) -> None:
    """Take a catalog over, whole or not at all. The same file again changes nothing."""
    settings = load()
    database = engine(settings.database)
    imported = sql.import_catalog(database, file, settings.routers, clock.now())
    _summary(imported.catalog)
    if imported.written:
        state = reached(lambda: highest_of(database, imported.written))
        count = len(imported.written)
        out.print(f"{count} change{'s' * (count > 1)} · {state}")
    else:
        out.print("nothing changed")


@app.command()
def lint(file: File, output: OutputOption = Output.TABLE) -> None:
    """Check a catalog file and its contracts; exit code 1 if there is a fault."""
    catalog, _, findings = read_catalog(file)
    rows = [*_rows("fault", findings.faults), *_rows("warning", findings.warnings)]
    if rows or output is Output.JSON:
        show(rows, output)
    elif not rows:
        _summary(catalog)
        out.print("no fault")
    if findings.faults:
        raise typer.Exit(Exit.FAILED)


@app.command("show")
def show_(
    resource: Annotated[str | None, typer.Argument(help="code of a resource; all if left out")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the resources of the catalog, or the items of one."""
    catalog = sql.show(engine(load().database))
    if resource is None:
        rows = [_resource(catalog, one) for one in catalog.resources]
    else:
        rows = _items(sql.resource_of(catalog, resource))
    if catalog.notice and output is Output.TABLE:
        out.print(catalog.notice)
    show(rows, output, columns=_RESOURCE if resource is None else _ITEM)


def _summary(catalog: Catalog) -> None:
    items = sum(len(resource.items) for resource in catalog.resources)
    out.print(
        f"catalog: {len(catalog.resources)} resources, {items} items, {len(catalog.departments)} departments"
        + (f" · {catalog.notice}" if catalog.notice else "")
    )


def _rows(kind: str, faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "place": fault.place, "fault": fault.message, "rule": fault.rule, "cure": fault.cure}
        for fault in faults
    ]


def _resource(catalog: Catalog, resource: Resource) -> dict[str, Any]:
    return {
        "code": resource.code,
        "title": resource.title,
        "provider": catalog.title(resource.provider),
        "sharing": resource.sharing.chinese,
        "items": len(resource.items),
        "contract": f"v{resource.version}",
        "partitions": resource.partitions,
        "update_cycle": resource.update_cycle,
        "ndrc_code": resource.ndrc_code,
    }


def _items(resource: Resource) -> list[dict[str, Any]]:
    return [
        {
            "item": item.name,
            "title": item.title,
            "part": item.part.value,
            "sharing": item.sharing.chinese,
            "condition": item.condition or None,
            "basis": str(item.basis) if item.basis else None,
        }
        for item in resource.items
    ]
