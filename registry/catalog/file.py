"""The catalog's file and the contracts beside it."""

from __future__ import annotations

import json
from pathlib import Path

from bianhe.registry.catalog.entry import Catalog, InvalidCatalog, NoCatalog, Resource, parse
from bianhe.registry.catalog.lint import Findings, lint
from bianhe.registry.contracts.registration import schema_text
from bianhe.schemas import contract_rules
from bianhe.schemas.contract import Contract, InvalidContract, shipped
from bianhe.schemas.errors import Fault


def read_catalog(path: Path) -> tuple[Catalog, dict[str, Contract], Findings]:
    """Read a catalog file and its contracts, and lint them.

    Raises NoCatalog where there is none, InvalidCatalog where its form is wrong.

    The contract of a resource is `<code>.v<version>.avsc` beside the file, else the one that ships with the bus.
    """
    try:
        catalog = parse(path.read_bytes(), path.name)
    except FileNotFoundError as error:
        raise NoCatalog(f"there is no file {path}", cure="name a catalog, such as infra/demo/catalog.toml") from error
    except OSError as error:
        raise InvalidCatalog(path.name, [Fault(str(path), "file", error.strerror or str(error))]) from error
    contracts: dict[str, Contract] = {}
    faults: list[Fault] = []
    for resource in catalog.resources:
        place = f"{path.name}, resource {resource.code}, contract v{resource.version}"
        try:
            schema = json.loads(_contract_text(path, resource))
            unfit = contract_rules.faults(schema)
            if not unfit:
                contracts[resource.code] = Contract.parse(schema_text(schema))
                unfit = [*contract_rules.unusable(contracts[resource.code])]
            faults += [Fault(f"{place}, {fault.place}", fault.rule, fault.message, cure=fault.cure) for fault in unfit]
        except InvalidContract as error:
            faults.append(Fault(place, "contract", error.message, cure=error.cure))
        except (ValueError, RecursionError) as error:
            faults.append(Fault(place, "contract", str(error)))
    found = lint(catalog, contracts, path.name)
    return catalog, contracts, Findings((*found.faults, *faults), found.warnings)


def _contract_text(catalog: Path, resource: Resource) -> str:
    beside = catalog.with_name(f"{resource.code}.v{resource.version}.avsc")
    return beside.read_text(encoding="utf-8") if beside.is_file() else shipped(resource.code, resource.version)
