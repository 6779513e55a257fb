"""Code tables as data: `codes/<name>.csv` with the columns code and title, and `tables.csv` with their standards."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from bianhe.schemas.errors import Rejected


class UnknownTable(Rejected):
    """A code table was named that does not ship with the bus."""


@cache
def table(name: str) -> Mapping[str, str]:
    """The titles of a table by code, in the table's order; raises UnknownTable."""
    source(name)
    return MappingProxyType({row["code"]: row["title"] for row in _rows(name)})


@cache
def source(name: str) -> str:
    """The standard that a table comes from, such as GB/T 2261.1; raises UnknownTable."""
    sources = {row["name"]: row["source"] for row in _rows("tables")}
    if name not in sources:
        raise UnknownTable(f"no code table {name!r}", cure=f"use one of {', '.join(sources)}")
    return sources[name]


def _rows(file: str) -> list[dict[str, str]]:
    path = resources.files("bianhe.schemas") / "codes" / f"{file}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
