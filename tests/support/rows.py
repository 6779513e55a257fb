"""Rows to publish: one valid synthetic person, and files of such."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from bianhe.schemas.contract import Contract, shipped
from bianhe.schemas.identifiers import citizen_id, uscc

POPULATION = Contract.parse(shipped("population", 1))
LEGAL_ENTITY = Contract.parse(shipped("legal-entity", 1))
SECRET = bytes(range(32))
UNIT = uscc.make("11", "410200", "00000001")


def number(sequence: int = 1) -> str:
    """An identity number of nobody."""
    return citizen_id.make("410202", date(1850, 1, 1), sequence)


def person(**changes: Any) -> dict[str, Any]:
    """The items of one event of population."""
    items = {
        "citizen_id": number(),
        "name": "王某",
        "sex": "1",
        "birth_date": date(1850, 1, 1),
        "status": "1",
        "death_date": None,
        "residence_division": "410202",
        "address": "示例路 1 号",
        "address_id": None,
        "source_unit": UNIT,
    }
    return items | changes


def row(**changes: Any) -> dict[str, str]:
    """The same as the texts of a CSV file, with every column."""
    items = dict.fromkeys(POPULATION.by_name) | person(**changes)
    return {name: "" if value is None else str(value) for name, value in items.items()}


def csv_file(rows: Iterable[Mapping[str, str]], encoding: str = "utf-8") -> io.BytesIO:
    text = io.StringIO()
    for place, fields in enumerate(rows):
        writer = csv.DictWriter(text, list(fields))
        if place == 0:
            writer.writeheader()
        writer.writerow(fields)
    return io.BytesIO(text.getvalue().encode(encoding))


def json_file(rows: Iterable[Mapping[str, Any]]) -> io.BytesIO:
    return io.BytesIO("".join(json.dumps(fields, ensure_ascii=False) + "\n" for fields in rows).encode())
