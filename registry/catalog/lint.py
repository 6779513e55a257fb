"""What is wrong with a catalog although its form is right. Pure: the same catalog gives the same findings.

Every fault names file, entry, rule and article. A bare article is one of 汴政办〔2019〕44号; 809 is 国令第809号.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from bianhe.registry.catalog.entry import UNREAD_MARK, Basis, Catalog, CatalogItem, Rank, Resource, Secrecy
from bianhe.schemas.contract import Contract, Part, Sharing
from bianhe.schemas.errors import Fault
from bianhe.schemas.identifiers import uscc

ARTICLES: Final[Mapping[str, str]] = {
    "department-known": "第十一条",
    "code-once": "第十一条",
    "uscc": "第十一条",
    "one-source": "第五条",
    "withheld-basis": "第十一条",
    "basis-read": "第十一条",
    "basis-rank": "809",
    "condition-stated": "第十四条",
    "base-unconditional": "第十二条",
    "item-in-contract": "第十一条",
    "contract-agrees": "第十一条",
    "secret": "809 第三条",
}
"""The rules of this module and the article that each rests on."""

WORKERS_MAX: Final = 16
"""More partitions cost the router speed (design 3.1)."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Faults forbid an import, warnings do not."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def lint(catalog: Catalog, contracts: Mapping[str, Contract], file: str) -> Findings:
    """Every fault and warning of a catalog; `contracts` has those that could be read, by code."""
    faults = [*_departments(catalog, file), *_codes(catalog, file), *_sources(catalog, file)]
    warnings: list[Fault] = []
    for resource in catalog.resources:
        place = f"{file}, resource {resource.code}"
        faults += _parties(catalog, resource, place)
        faults += _against_contract(resource, contracts.get(resource.code), place)
        for item in resource.items:
            faults += _item(catalog, resource, item, f"{place}, item {item.name}")
        warnings += _warnings(resource, place)
    return Findings(tuple(faults), tuple(warnings))


def _fault(place: str, rule: str, message: str, cure: str = "") -> Fault:
    return Fault(place, f"{rule}, {ARTICLES[rule]}", message, cure=cure)


def _departments(catalog: Catalog, file: str) -> Iterator[Fault]:
    if catalog.authority not in catalog.department:
        yield _fault(f"{file}, authority", "department-known", f"{catalog.authority!r} is no department of the catalog")
    for department in catalog.departments:
        if wrong := uscc.fault(department.uscc):
            yield _fault(f"{file}, department {department.code}", "uscc", f"统一社会信用代码: {wrong}")


def _codes(catalog: Catalog, file: str) -> Iterator[Fault]:
    for code in _twice(department.code for department in catalog.departments):
        yield _fault(f"{file}, department {code}", "code-once", "two departments have this code")
    for number in _twice(department.uscc for department in catalog.departments):
        yield _fault(f"{file}, departments", "code-once", f"two departments have the 统一社会信用代码 {number}")
    for resource in catalog.resources:
        for name in _twice(item.name for item in resource.items):
            yield _fault(f"{file}, resource {resource.code}, item {name}", "code-once", "two items have this name")


def _sources(catalog: Catalog, file: str) -> Iterator[Fault]:
    """One datum, one source: two entries for the same thing are a fault whoever provides them (一数一源)."""
    for what, key in (("code", "code"), ("信息资源代码", "ndrc_code"), ("title", "title")):
        for value in _twice(getattr(resource, key) for resource in catalog.resources):
            same = [resource for resource in catalog.resources if getattr(resource, key) == value]
            providers = sorted({resource.provider for resource in same})
            place = f"{file}, resource {same[0].code}"
            if len(providers) > 1:
                yield _fault(place, "one-source", f"{what} {value!r} has the providers {', '.join(providers)}")
            else:
                yield _fault(place, "code-once", f"two resources have the {what} {value!r}")


def _parties(catalog: Catalog, resource: Resource, place: str) -> Iterator[Fault]:
    for part in ("provider", "source_of_record"):
        code = getattr(resource, part)
        if code not in catalog.department:
            yield _fault(
                f"{place}, {part}",
                "department-known",
                f"{code!r} is no department of the catalog",
                cure="correct the code or add a [[department]]",
            )


def _item(catalog: Catalog, resource: Resource, item: CatalogItem, place: str) -> Iterator[Fault]:
    if item.secrecy is not Secrecy.NONE:
        yield _fault(
            place,
            "secret",
            f"a {item.secrecy} secret is no government data: it is neither shared nor withheld",
            cure="take the item out of the catalog",
        )
    if resource.base and item.part is Part.BASE and item.sharing is not Sharing.UNCONDITIONAL:
        yield _fault(
            place,
            "base-unconditional",
            f"a base item of a base resource is {item.sharing.chinese}, must be 无条件共享",
            cure="make it unconditional, or a business item if it is one",
        )
    if item.sharing is Sharing.WITHHELD and item.basis is None:
        yield _fault(
            place,
            "withheld-basis",
            "is withheld without a legal basis",
            cure="name document and article of the law, administrative regulation or State Council decision",
        )
    if item.sharing is Sharing.CONDITIONAL and not item.condition.strip():
        yield _fault(place, "condition-stated", "is conditional but states no condition")
    for code in item.scope:
        if code not in catalog.department:
            yield _fault(f"{place}, scope", "department-known", f"{code!r} is no department of the catalog")
    if item.basis is not None and item.basis.mark != UNREAD_MARK and not was_read(item.basis):
        yield _fault(
            place,
            "basis-read",
            f"{item.basis.document} {item.basis.article} is not among the bases that were read",
            cure=f'read it and add it to legal_bases.toml, or set mark = "{UNREAD_MARK}"',
        )


def _against_contract(resource: Resource, contract: Contract | None, place: str) -> Iterator[Fault]:
    if contract is None:
        return
    if (contract.resource, contract.version) != (resource.code, resource.version):
        yield _fault(place, "contract-agrees", f"the contract is of {contract.resource}.v{contract.version}")
    for item in resource.items:
        where = f"{place}, item {item.name}"
        stated = contract.by_name.get(item.name)
        if item.sharing is Sharing.WITHHELD:
            if stated is not None:
                yield _fault(where, "item-in-contract", "is withheld, yet stands in the contract")
        elif stated is None:
            yield _fault(where, "item-in-contract", "is neither in the contract nor withheld")
        else:
            for word in ("title", "part", "sharing"):
                ours, theirs = getattr(item, word), getattr(stated, word)
                if ours != theirs:
                    yield _fault(where, "contract-agrees", f"{word} is {ours}, in the contract {theirs}")
    for stated in contract.items:
        if stated.name not in resource.by_name:
            yield _fault(
                f"{place}, item {stated.name}", "item-in-contract", "is in the contract but not in the catalog"
            )


def _warnings(resource: Resource, place: str) -> Iterator[Fault]:
    if resource.partitions > WORKERS_MAX:
        yield Fault(f"{place}, partitions", "design 3.1", f"more than {WORKERS_MAX} partitions cost speed")
    for item in resource.items:
        basis = item.basis
        if item.sharing is Sharing.WITHHELD and basis is not None and basis.rank is Rank.POLICY:
            yield _fault(
                f"{place}, item {item.name}",
                "basis-rank",
                f"is withheld on {basis.rank} alone, which the regulation of 2019 accepts and 809 does not",
            )


def was_read(basis: Basis) -> bool:
    """Whether someone has read every article of a basis; articles are joined by 、 and may name a paragraph."""
    read = _read_articles().get(basis.document, frozenset())
    articles = re.findall(r"第[一二三四五六七八九十百]+条", basis.article)
    return bool(articles) and set(articles) <= read


@cache
def _read_articles() -> Mapping[str, frozenset[str]]:
    text = (resources.files("bianhe.registry.catalog") / "legal_bases.toml").read_text(encoding="utf-8")
    return {document["title"]: frozenset(document["articles"]) for document in tomllib.loads(text)["document"]}


def _twice(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    doubled: dict[str, None] = {}
    for value in values:
        if value in seen:
            doubled[value] = None
        seen.add(value)
    return list(doubled)
