"""A contract becomes one function that checks and encodes an event in one pass, in generated Python.

It answers only where it is sure: an event that it does not take is looked at by the checks of `validation.py` and by
fastavro, which say what is wrong or encode it. Names and values of items never become source text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from io import BytesIO
from typing import Any, Final, cast

from fastavro import parse_schema, schemaless_writer

from bianhe.producers.validation import Check, Validator
from bianhe.schemas import wire
from bianhe.schemas.contract import Contract, Item
from bianhe.schemas.identifiers import CHECKS

Encode = Callable[[Mapping[str, Any]], "tuple[bytes, ...] | None"]
"""The items of an event as Avro, in pieces to be joined; None where it is not sure."""

_NULL: Final = b"\x00"
_PRESENT: Final = b"\x02"
_TEXT_BYTES: Final = 512
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


def encoder(contract: Contract, validator: Validator) -> Encode:
    """Compile a contract whose checks are those of the validator."""
    facts: dict[str, Any] = {"known": frozenset(contract.by_name), "null": _NULL}
    lines, pieces = ["def encode(items):", " if not known.issuperset(items): return None", " get = items.get"], []
    for number, item in enumerate(contract.items):
        facts[f"name{number}"] = item.name
        if item.kind == "string" and item.codes is None:
            steps = _text(number, item, facts)
            pieces += [f"head{number}", f"piece{number}"]
            null = f"head{number} = null; piece{number} = b''"
        else:
            steps = _value(number, item, validator.checks[item.name][0], facts)
            pieces.append(f"piece{number}")
            null = f"piece{number} = null"
        lines.append(f" value = get(name{number})")
        if item.nullable:
            lines += [f" if value is None: {null}", " else:"]
            steps = [f" {step}" for step in steps]
        lines += [f" {step}" for step in steps]
    lines.append(f" return ({', '.join(pieces)},)")
    exec(compile("\n".join(lines), f"<encoder of {contract.resource}>", "exec"), facts)
    return cast(Encode, facts["encode"])


def _text(number: int, item: Item, facts: dict[str, Any]) -> list[str]:
    doubts = ["type(value) is not str", "not value.isprintable()"]
    if item.length is not None:
        doubts.append(f"len(value) > {item.length}")
    if item.check is not None:
        facts[f"fault{number}"] = CHECKS[item.check]
        doubts.append(f"fault{number}(value) is not None")
    prefix = _PRESENT if item.nullable else b""
    facts[f"heads{number}"] = [prefix + wire.long(length) for length in range(_TEXT_BYTES)]
    return [
        f"if {' or '.join(doubts)}: return None",
        f"piece{number} = value.encode()",
        f"if len(piece{number}) >= {_TEXT_BYTES}: return None",
        f"head{number} = heads{number}[len(piece{number})]",
    ]


def _value(number: int, item: Item, check: Check, facts: dict[str, Any]) -> list[str]:
    written = _Written(item, check)
    kind = _REMEMBERED.get(item.kind)
    if kind is None:
        facts[f"written{number}"] = written.__missing__
        return [f"piece{number} = written{number}(value)", f"if piece{number} is None: return None"]
    facts[f"written{number}"], facts[f"kind{number}"] = written, kind
    return [
        f"if type(value) is not kind{number}: return None",
        f"piece{number} = written{number}[value]",
        f"if piece{number} is None: return None",
    ]


class _Written(dict[Any, bytes | None]):
    """An item's values as Avro, checked; most registers say the same few codes and days again and again."""

    def __init__(self, item: Item, check: Check) -> None:
        super().__init__()
        self._schema: Any = parse_schema(item.type)
        self._check = check
        self._remembers = item.kind in _REMEMBERED

    def __missing__(self, value: Any) -> bytes | None:
        if value is None or self._check(value) is not None:
            return None
        out = BytesIO()
        try:
            schemaless_writer(out, self._schema, value)
        except (ValueError, TypeError, OverflowError):
            return None
        if self._remembers:
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[value] = out.getvalue()
        return out.getvalue()
