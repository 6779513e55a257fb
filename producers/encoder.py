"""A contract becomes one function that checks and encodes an event in one pass, over a table with a row for each item.

It answers only where it is sure: an event that it does not take is looked at by the checks of `validation.py` and by
fastavro, which say what is wrong or encode it. Compiled (`_encoder.pyx`) where a compiler was, else in Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from io import BytesIO
from typing import Any, Final, NamedTuple

from fastavro import parse_schema, schemaless_writer

from bianhe.producers.validation import Check, Validator
from bianhe.schemas import wire
from bianhe.schemas.contract import Contract, Item
from bianhe.schemas.identifiers import CHECKS

try:
    from bianhe.producers._encoder import Encoder
except ImportError:  # installed where no compiler was
    Encoder = None  # type: ignore[assignment, misc]

COMPILED: Final = Encoder is not None

Encode = Callable[[bytes, str, bytes, int | None, Mapping[str, Any]], bytes | None]
"""From a head, the event's id, its kind in Avro, its time in milliseconds (None: the one in the id) and its items to a
record's value with no objection; None if unsure."""

Written = Callable[[Any], bytes | None]
"""A value of an item as Avro; None where unsure."""

_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_NULL: Final = b"\x00"
_PRESENT: Final = b"\x02"
_REMEMBERED_MAX: Final = 50_000
_REMEMBERED: Final[Mapping[str, type]] = {
    "string": str,
    "enum": str,
    "boolean": bool,
    "int": int,
    "long": int,
    "date": date,
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
}
"""Types whose equal values are the same bytes; of the others, 0.0 equals -0.0 and 1.0 equals 1.00."""


class Row(NamedTuple):
    """How one item is checked and written: text as it is, everything else by value."""

    name: str
    nullable: bool
    kind: type | None
    """The type of every value that is taken; None where `written` looks at it."""
    most: int
    """Characters of a text."""
    fault: Callable[[str], str | None] | None
    """The check of an identifier."""
    written: Written | None
    """None for a text."""


def encoder(contract: Contract, validator: Validator) -> Encode:
    """Compile a contract whose checks are those of the validator."""
    rows = table(contract, validator)
    return in_python(rows) if Encoder is None else Encoder(rows)


def table(contract: Contract, validator: Validator) -> Sequence[Row]:
    """The rows of a contract, in its order."""
    return [_row(item, validator.checks[item.name][0]) for item in contract.items]


def _row(item: Item, check: Check) -> Row:
    if item.kind == "string" and item.codes is None:
        fault = CHECKS[item.check] if item.check else None
        return Row(item.name, item.nullable, str, sys.maxsize if item.length is None else item.length, fault, None)
    kind, written = _REMEMBERED.get(item.kind), _written(item, check)
    return Row(item.name, item.nullable, kind, 0, None, written if kind is None else _Remembered(written).__getitem__)


def in_python(rows: Sequence[Row]) -> Encode:
    """What `_encoder.pyx` does, in Python."""

    def encode(head: bytes, event_id: str, kind: bytes, millis: int | None, items: Mapping[str, Any]) -> bytes | None:
        if not _UUID7.fullmatch(event_id):
            return None
        if millis is None:
            millis = int(event_id[:8] + event_id[9:13], 16)
        pieces, known = [head, event_id.encode(), kind, wire.long(millis), _NULL], 0
        for name, nullable, type_, most, fault, written in rows:
            value = items.get(name)
            known += name in items
            if value is None:
                if not nullable:
                    return None
                pieces.append(_NULL)
                continue
            if type_ is not None and type(value) is not type_:
                return None
            if written is None:
                if len(value) > most or "\0" in value or (fault is not None and fault(value) is not None):
                    return None
                try:
                    text = value.encode()
                except UnicodeEncodeError:  # half of a character
                    return None
                pieces += (_PRESENT, wire.long(len(text)), text) if nullable else (wire.long(len(text)), text)
            elif (piece := written(value)) is not None:
                pieces.append(piece)
            else:
                return None
        return b"".join(pieces) if known == len(items) else None

    return encode


def _written(item: Item, check: Check) -> Written:
    schema: Any = parse_schema(item.type)

    def written(value: Any) -> bytes | None:
        if check(value) is not None:
            return None
        out = BytesIO()
        try:
            schemaless_writer(out, schema, value)
        except (ValueError, TypeError, OverflowError):
            return None
        return out.getvalue()

    return written


class _Remembered(dict[Any, bytes | None]):
    """The values of an item as Avro; most registers say the same few codes and days again and again."""

    def __init__(self, written: Written) -> None:
        super().__init__()
        self._written = written

    def __missing__(self, value: Any) -> bytes | None:
        found = self._written(value)
        if found is not None:
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[value] = found
        return found
