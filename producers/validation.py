"""What a contract demands of an event's items, compiled once to one check per item."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from fastavro.schema import expand_schema

from bianhe.schemas import code_tables
from bianhe.schemas.contract import AvroType, Contract, InvalidContract, Item
from bianhe.schemas.errors import Rejected
from bianhe.schemas.identifiers import CHECKS
from bianhe.schemas.wire import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN

Check = Callable[[Any], str | None]
"""Says in one sentence what is wrong with a value that is not null; None if nothing is."""

_CODES_NAMED_MAX: Final = 8
_EDGE_CHARACTERS: Final = 4
_FLOAT_MAX: Final = float.fromhex("0x1.fffffep+127")
"""The greatest number of Avro's float; what is beyond it would be written as infinity."""


class InvalidEvent(Rejected):
    """An event that its contract forbids: which field, why.

    `shown` is as much of the value as helps to find it, never the whole of a personal one.
    """

    def __init__(self, field: str, reason: str, shown: str = "") -> None:
        super().__init__(
            f"{field}: {reason}" + (f" ({shown})" if shown else ""), cure="correct it and publish it again"
        )
        self.field = field
        self.reason = reason
        self.shown = shown


@dataclass(frozen=True, slots=True)
class Validator:
    """The checks of one contract, in its order."""

    resource: str
    checks: Mapping[str, tuple[Check, bool]]
    """Per item its check and whether it may be null."""

    @classmethod
    def of(cls, contract: Contract) -> Validator:
        """Compile a contract; raises InvalidContract for a type, code table or check that is not known."""
        resource = f"{contract.resource}.v{contract.version}"
        return cls(resource, {item.name: (_check(item), item.nullable) for item in written_out(contract)})

    def __call__(self, items: Mapping[str, Any]) -> None:
        """Raise InvalidEvent for the first item that is unknown, missing or not as the contract demands.

        A nullable item may be left out.
        """
        for name, (check, nullable) in self.checks.items():
            value = items.get(name)
            if value is not None:
                if reason := check(value):
                    raise InvalidEvent(name, reason, shown(name, value, reason))
            elif not nullable:
                raise InvalidEvent(name, "is missing and must not be")
        if len(items) > len(self.checks) or not items.keys() <= self.checks.keys():
            unknown = min(items.keys() - self.checks.keys())
            raise InvalidEvent(unknown, f"is no item of {self.resource}")

    def one(self, name: str, value: Any) -> None:
        """Raise InvalidEvent if the value of one item is null or not as the contract demands."""
        if value is None:
            raise InvalidEvent(name, "is missing and must not be")
        if reason := self.checks[name][0](value):
            raise InvalidEvent(name, reason, shown(name, value, reason))


def written_out(contract: Contract) -> Sequence[Item]:
    """The items of a contract, each with all of its type: a named type stands in full wherever it is used."""
    expanded = cast("dict[str, Any]", expand_schema(dict(contract.schema)))
    types = {field["name"]: field["type"] for field in expanded["fields"]}
    return [replace(item, type=types[item.name]) for item in contract.items]


def shown(name: str, value: object, reason: str) -> str:
    """The first and last four characters of an identifier whose check digit is wrong, else nothing."""
    if "check" not in reason or not isinstance(value, str) or len(value) < 4 * _EDGE_CHARACTERS:
        return ""
    return f"{value[:_EDGE_CHARACTERS]}…{value[-_EDGE_CHARACTERS:]}"


def _check(item: Item) -> Check:
    compiled = _COMPILERS.get(item.kind)
    if compiled is None:
        raise InvalidContract(f"{item.name}: no check for the type {item.kind}")
    return compiled(item)


def _text(item: Item) -> Check:
    checks = [check for check in (_codes(item), _length(item, "characters"), _identifier(item)) if check]

    def check(value: Any) -> str | None:
        if type(value) is not str:
            return _wrong_type(value, "text")
        # Surrogates have no UTF-8, and databases of readers stop at a null character.
        if not value.isprintable() and (fault := _unprintable(value)):
            return fault
        for each in checks:
            if fault := each(value):
                return fault
        return None

    return check


def _unprintable(text: str) -> str | None:
    if "\0" in text:
        return "holds a null character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a character"
    return None


def _length(item: Item, unit: str) -> Check | None:
    most = item.length
    if most is None:
        return None
    return lambda value: f"{len(value)} {unit}, at most {most}" if len(value) > most else None


def _codes(item: Item) -> Check | None:
    if item.codes is None:
        return None
    table = code_tables.table(item.codes)
    codes = frozenset(table)
    longest = max(map(len, codes))
    named = f" ({', '.join(table)})" if len(table) <= _CODES_NAMED_MAX else ""
    rest = f"is not in {code_tables.source(item.codes)}{named}"

    def check(value: str) -> str | None:
        if value in codes:
            return None
        # What is longer than any code may be a name or number that slipped into the wrong column.
        return f"{value} {rest}" if 0 < len(value) <= longest and value.isascii() else rest

    return check


def _identifier(item: Item) -> Check | None:
    if item.check is None:
        return None
    if item.check not in CHECKS:
        raise InvalidContract(f"{item.name}: no check {item.check!r}", cure=f"use one of {', '.join(CHECKS)}")
    return CHECKS[item.check]


def _bytes(item: Item) -> Check:
    length = _length(item, "bytes")

    def check(value: Any) -> str | None:
        if type(value) is not bytes:
            return _wrong_type(value, "bytes")
        return length(value) if length else None

    return check


def _integer(least: int, most: int) -> Callable[[Item], Check]:
    def check(value: Any) -> str | None:
        if type(value) is not int:
            return _wrong_type(value, "a whole number")
        return None if least <= value <= most else f"is not between {least} and {most}"

    return lambda item: check


def _decimal(item: Item) -> Check:
    scale = int(item.value_type.get("scale", 0))
    digits = int(item.value_type["precision"]) - scale

    def check(value: Any) -> str | None:
        if type(value) is not Decimal:
            return _wrong_type(value, "a decimal")
        if not value.is_finite():
            return "is no finite number"
        _, coefficient, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        if exponent < -scale:
            return f"{-exponent} decimal places, at most {scale}"
        # A zero has no digits, but is written with as many as its exponent says.
        whole = exponent + (len(coefficient) if value else 0)
        return f"{whole} digits before the point, at most {digits}" if whole > digits else None

    return check


def _float(most: float) -> Callable[[Item], Check]:
    def check(value: Any) -> str | None:
        if type(value) is not float and type(value) is not int:
            return _wrong_type(value, "a number")
        return None if abs(value) <= most else f"is not between {-most} and {most}"

    return lambda item: check


def _exactly(kind: type, wanted: str) -> Callable[[Item], Check]:
    return lambda item: lambda value: None if type(value) is kind else _wrong_type(value, wanted)


def _instant(item: Item) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is not datetime:
            return _wrong_type(value, "a date with time")
        if value.tzinfo is None:
            return "has no offset from UTC"
        try:
            value.astimezone(UTC)
        except OverflowError:
            return "is not within the years 1 to 9999"
        return None

    return check


def _symbol(item: Item) -> Check:
    symbols = item.value_type["symbols"]
    known = frozenset(symbols)
    fault = f"is none of {', '.join(symbols)}"
    return lambda value: None if type(value) is str and value in known else fault


def _fixed(item: Item) -> Check:
    size = item.value_type["size"]

    def check(value: Any) -> str | None:
        if type(value) is not bytes:
            return _wrong_type(value, "bytes")
        return None if len(value) == size else f"{len(value)} bytes, must be {size}"

    return check


def _uuid(item: Item) -> Check:
    def check(value: Any) -> str | None:
        try:
            right = type(value) is str and str(UUID(value)) == value
        except ValueError:
            right = False
        return None if right else "is no UUID in lower case with hyphens"

    return check


def _record(item: Item) -> Check:
    parts = {field["name"]: _part(item, field["type"]) for field in item.value_type["fields"]}

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return _wrong_type(value, "a record")
        for name, part in parts.items():
            if fault := part(value.get(name)):
                return f"{name}: {fault}"
        return None if value.keys() <= parts.keys() else f"has a field that is none of {', '.join(parts)}"

    return check


def _array(item: Item) -> Check:
    part = _part(item, item.value_type["items"])

    def check(value: Any) -> str | None:
        if type(value) is not list:
            return _wrong_type(value, "a list")
        return next((f"number {place}: {fault}" for place, each in enumerate(value, 1) if (fault := part(each))), None)

    return check


def _map(item: Item) -> Check:
    key, part = _part(item, "string"), _part(item, item.value_type["values"])

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return _wrong_type(value, "a map")
        faults = (key(name) or part(each) for name, each in value.items())
        # A key of a map may be a personal datum.
        return next((f"number {place}: {fault}" for place, fault in enumerate(faults, 1) if fault), None)

    return check


def _part(item: Item, shape: AvroType) -> Check:
    """The check of what stands within an item; null is refused where the type has none."""
    inner = replace(item, type=shape, codes=None, check=None, length=None)
    check, missing = _check(inner), None if inner.nullable else "is missing and must not be"
    return lambda value: missing if value is None else check(value)


def _wrong_type(value: object, wanted: str) -> str:
    return f"must be {wanted}, not {type(value).__name__}"


_COMPILERS: Final[Mapping[str, Callable[[Item], Check]]] = {
    "string": _text,
    "bytes": _bytes,
    "boolean": _exactly(bool, "true or false"),
    "int": _integer(INT_MIN, INT_MAX),
    "long": _integer(LONG_MIN, LONG_MAX),
    "float": _float(_FLOAT_MAX),
    "double": _float(sys.float_info.max),
    "enum": _symbol,
    "date": _exactly(date, "a date"),
    "time-millis": _exactly(time, "a time of day"),
    "decimal": _decimal,
    "timestamp-millis": _instant,
    "timestamp-micros": _instant,
    "uuid": _uuid,
    "fixed": _fixed,
    "record": _record,
    "array": _array,
    "map": _map,
}
