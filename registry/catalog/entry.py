"""What a catalog file (信息资源目录) says of departments, resources, items (articles 10 to 12; 809 article 13)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from bianhe.schemas import names
from bianhe.schemas.contract import Part, Sharing
from bianhe.schemas.errors import Fault, Rejected
from bianhe.schemas.grant import Frozen, ItemName, Text

UNREAD_MARK: Final = "示例,待核"
"""Marks a legal basis that nobody has read for what it is cited for."""


def _code(text: str) -> str:
    try:
        return names.code(text)
    except names.InvalidName as error:
        raise ValueError(f"{error.message}: {error.cure}") from error


Code = Annotated[str, AfterValidator(_code)]


class Rank(StrEnum):
    """How high a legal basis stands; 809 accepts the first three for withholding, the regulation of 2019 all four."""

    LAW = "法律"
    REGULATION = "行政法规"
    DECISION = "国务院决定"
    POLICY = "党中央、国务院政策"


class Secrecy(StrEnum):
    """State and work secrets are no government data and have no place in a catalog (809 article 3)."""

    NONE = "none"
    WORK = "work"
    STATE = "state"


class Level(StrEnum):
    CITY = "city"
    COUNTY = "county"


class Basis(Frozen):
    """A legal basis: document and article, its rank, and the mark of one that was not read."""

    document: Text
    article: Text
    rank: Rank
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.document} {self.article}" + (f"({self.mark})" if self.mark else "")


class Department(Frozen):
    """A department (政务部门) with its account's quota and the programs that subscribe for it."""

    code: Code
    title: Text
    uscc: str
    level: Level = Level.CITY
    clients: tuple[Code, ...] = ("main",)
    bytes_per_second: int = Field(default=10_000_000, ge=10_000, le=1_000_000_000)


class CatalogItem(Frozen):
    """An item as the catalog states it. `scope` names the departments it may go to; empty means any."""

    name: ItemName
    title: Text
    part: Part
    sharing: Sharing
    condition: str = ""
    scope: tuple[str, ...] = ()
    basis: Basis | None = None
    secrecy: Secrecy = Secrecy.NONE


class Resource(Frozen):
    """A catalog entry with one provider (一数一源)."""

    code: Code
    title: Text
    provider: str
    source_of_record: str
    base: bool = False
    ndrc_code: Annotated[str, Field(pattern=r"^[123]\d{5,}/\d+$", max_length=64)]
    summary: Text
    format: Text
    update_cycle: Text
    version: int = Field(default=1, ge=1)
    partitions: int = Field(default=4, ge=1, le=64)
    erasure_days: int = Field(default=30, ge=1, le=365)
    standing_consent: bool = False
    items: tuple[CatalogItem, ...]

    @cached_property
    def by_name(self) -> Mapping[str, CatalogItem]:
        return {item.name: item for item in self.items}

    @property
    def sharing(self) -> Sharing:
        """The resource's own type: unconditional or withheld if all its items are, else conditional."""
        kinds = {item.sharing for item in self.items}
        return kinds.pop() if len(kinds) == 1 else Sharing.CONDITIONAL

    @property
    def unconditional(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.items if item.sharing is Sharing.UNCONDITIONAL)


class Catalog(Frozen):
    """A catalog of one authority. `notice` heads every screen and letter (模拟数据 in the sample)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    edition: Annotated[str, Field(pattern="^(ndrc-1272|reg-809)$")]
    notice: str = ""
    authority: str
    purposes: tuple[Text, ...] = Field(min_length=1)
    departments: tuple[Department, ...] = Field(alias="department")
    resources: tuple[Resource, ...] = Field(alias="resource")

    @cached_property
    def department(self) -> Mapping[str, Department]:
        return {department.code: department for department in self.departments}

    @cached_property
    def resource(self) -> Mapping[str, Resource]:
        return {resource.code: resource for resource in self.resources}

    def title(self, code: str) -> str:
        """The Chinese name of a department; its code where the catalog does not know it."""
        return self.department[code].title if code in self.department else code


class NoCatalog(Rejected):
    """There is no catalog yet, or not what was asked for in it."""


class InvalidCatalog(Rejected):
    """A catalog file with faults; nothing of it was imported."""

    def __init__(self, file: str, faults: list[Fault]) -> None:
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        super().__init__(
            f"{file} has {count}, nothing was imported",
            cause="\n".join(map(str, faults)),
            cure="correct the file; bianhe catalog lint shows what is still wrong with it",
        )
        self.faults = faults


def parse(content: bytes, file: str) -> Catalog:
    """Read a catalog from the bytes of its TOML file; raises InvalidCatalog with every fault of its form."""
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidCatalog(file, [Fault(file, "utf-8", f"byte {error.start} is no UTF-8")]) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidCatalog(file, [Fault(file, "toml", str(error))]) from error
    if faults := _several_providers(document, file):
        raise InvalidCatalog(file, faults)
    try:
        return Catalog.model_validate(document)
    except ValidationError as error:
        faults = [
            Fault(f"{file}, {_entry(document, fault['loc'])}", "form", _told(fault["type"], fault["msg"]))
            for fault in error.errors()
        ]
        raise InvalidCatalog(file, faults) from error


def _told(kind: str, message: str) -> str:
    """A fault of form in the words of a file; where pydantic's own serve, in those."""
    return _FORM.get(kind, message.removeprefix("Value error, "))


_FORM: Final = {
    "bool_type": "must be true or false",
    "extra_forbidden": "is nothing that a catalog has",
    "int_type": "must be a whole number",
    "missing": "is missing",
    "model_type": "must be a table",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list",
}


def _several_providers(document: Mapping[str, Any], file: str) -> list[Fault]:
    entries = document.get("resource", [])
    return [
        Fault(f"{file}, resource {entry.get('code')}", "one-source, 第五条", "has several providers, must have one")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("provider"), list)
    ]


def _entry(document: Any, location: tuple[int | str, ...]) -> str:
    """A place in the file by the names of its entries: `resource population, items ethnic_group, sharing`."""
    words: list[str] = []
    for step in location:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            document = None
        if isinstance(step, int) and words:
            name = document.get("code") or document.get("name") if isinstance(document, dict) else None
            words[-1] += f" {name or step + 1}"
        else:
            words.append(str(step))
    return ", ".join(words) or "the file"
