"""What a catalog means for the policy log. Pure: two catalogs differ on the log by the bodies that differ here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bianhe.registry.catalog import entry
from bianhe.schemas.records.policy import Body, Department, Resource, Writers


@dataclass(frozen=True, slots=True)
class ContractText:
    """A contract under its schema id."""

    schema_id: int
    text: str


def bodies(
    catalog: entry.Catalog,
    contracts: Mapping[str, ContractText],
    writers: tuple[str, ...],
    disabled: Collection[str] = (),
) -> list[Body]:
    """All policy bodies of a catalog but the open channels, whose revisions have a history of their own."""
    return [
        Writers(transactional_ids=writers),
        *(department_body(each, enabled=each.code not in disabled) for each in catalog.departments),
        *(_resource(resource, contracts[resource.code]) for resource in catalog.resources),
    ]


def department_body(department: entry.Department, *, enabled: bool = True) -> Department:
    """A department's account; disabled by a decision of its own, or when the catalog names it no more."""
    return Department(
        code=department.code,
        title=department.title,
        clients=department.clients,
        enabled=enabled,
        bytes_per_second=department.bytes_per_second,
    )


def _resource(resource: entry.Resource, contract: ContractText) -> Resource:
    return Resource(
        code=resource.code,
        provider=resource.provider,
        version=resource.version,
        partitions=resource.partitions,
        erasure_days=resource.erasure_days,
        schema_id=contract.schema_id,
        contract=contract.text,
        update_cycle=resource.update_cycle,
    )
