"""What a schema must be to become a contract: safe to walk, and read alike by every Avro library.

A schema comes from outside: it is measured before anything recurses into it, and checked before a library parses it.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import avro.schema
import fastavro.schema

from bianhe.schemas import code_tables
from bianhe.schemas.contract import Contract, Derivation, full_name
from bianhe.schemas.errors import Fault
from bianhe.schemas.identifiers import CHECKS
from bianhe.schemas.walk import RANGES

SIZE_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 32
FIELDS_MAX: Final = 512
FIXED_MAX: Final = 64 * 1024
DECIMAL_DIGITS_MAX: Final = 38
_JSON_DEPTH_MAX: Final = 6 * DEPTH_MAX

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WIDTHS: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip
_COMPLEX: Final = ("record", "enum", "fixed", "array", "map")
_TEXTS: Final = ("string", "enum", "uuid")
_LOGICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("int",),
    "time-millis": ("int",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("string",),
}


def faults(schema: object) -> list[Fault]:
    """Return everything that keeps a parsed Avro JSON schema from being a contract; the place is the path of the field.

    No recursion; at most 32 levels, 512 fields (those of a type that is named again count again) and 64 KiB; nothing in
    an array or map that takes no bytes; no field that can only be null; unions `["null", T]` only; legal ASCII names,
    each once; the logical types date, time-millis, timestamp-millis, timestamp-micros, decimal (38 digits at most) and
    uuid on their base types; valid defaults; parsed by avro and fastavro. Safe on hostile input.
    """
    if fault := _size_fault(schema):
        return [fault]
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return [Fault("schema", "contract-record", "a contract is one record")]
    rules = _Rules()
    place = _Place("", "", 1)
    fields = rules.type(schema, place).fields
    if fields > FIELDS_MAX:
        rules.fault(place, "fields", f"{fields} fields with those of its types, at most {FIELDS_MAX}")
    return rules.found or _parse_faults(schema)


def unusable(contract: Contract) -> Iterator[Fault]:
    """What would keep every publisher from using a contract: its key, and what its items name."""
    key = contract.key
    if not key.items or (key.derivation is Derivation.NATURAL and len(key.items) > 1):
        yield Fault("key", "contract-key", f"{len(key.items)} items: a natural key is one, any other at least one")
    for name in key.items:
        if contract.by_name[name].nullable or contract.by_name[name].kind not in _TEXTS:
            yield Fault(name, "contract-key", "identifies the entity and must be text that is never null")
    for item in contract.items:
        if item.codes is not None:
            try:
                code_tables.source(str(item.codes))
            except code_tables.UnknownTable as error:
                yield Fault(item.name, "contract-codes", error.message, cure=error.cure)
        if item.check is not None and str(item.check) not in CHECKS:
            yield Fault(item.name, "contract-check", f"no check {item.check!r}", cure=f"use one of {', '.join(CHECKS)}")
        if item.length is not None and (type(item.length) is not int or item.length < 1):
            yield Fault(item.name, "contract-length", f"the length {item.length!r} is no whole number above 0")


def _size_fault(schema: object) -> Fault | None:
    pending = [(schema, 1)]
    while pending:
        part, depth = pending.pop()
        if depth > _JSON_DEPTH_MAX:
            return Fault("schema", "contract-depth", f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(part, (dict, list)):
            pending.extend((inner, depth + 1) for inner in (part.values() if isinstance(part, dict) else part))
    try:
        size = len(json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        return Fault("schema", "contract-json", f"not JSON text in UTF-8: {error}")
    if size > SIZE_MAX:
        return Fault("schema", "contract-size", f"{size} bytes, at most {SIZE_MAX}")
    return None


class _Place(NamedTuple):
    """Where in the schema: path of field names, namespace in force, depth."""

    path: str
    namespace: str
    depth: int

    def field(self, name: str) -> _Place:
        return self._replace(path=f"{self.path}.{name}" if self.path else name, depth=self.depth + 1)

    def inner(self, part: str) -> _Place:
        return self._replace(path=f"{self.path}.{part}" if self.path else part, depth=self.depth + 1)


@dataclass(frozen=True, slots=True)
class _Measure:
    """Of a type with every named type written out: least bytes of a value, fields, levels."""

    width: int = 0
    fields: int = 0
    depth: int = 1


_FAULTY: Final = _Measure(width=1)


class _Rules:
    """One pass over a schema, at most 32 levels deep; collects faults and measures named types once."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self._measures: dict[str, _Measure | None] = {}  # None while the type is being read
        self._definitions: dict[str, Mapping[str, Any]] = {}

    def fault(self, place: _Place, rule: str, message: str) -> _Measure:
        self.found.append(Fault(place.path or "schema", f"contract-{rule}", message))
        return _FAULTY

    def type(self, shape: object, place: _Place) -> _Measure:
        if place.depth > DEPTH_MAX:
            return self.fault(place, "depth", f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(shape, str):
            return self._named(shape, place)
        if isinstance(shape, list):
            return self._union(shape, place)
        if not isinstance(shape, dict) or not isinstance(shape.get("type"), str):
            return self.fault(place, "type", "neither a type name, a union nor an object with a type")
        kind = shape["type"]
        if "logicalType" in shape:
            self._logical(shape, place)
        if kind not in _COMPLEX:
            return self._named(kind, place)
        if kind in ("array", "map"):
            return self._items(shape, "items" if kind == "array" else "values", place)
        name, inner = self._define(shape, place)
        measure = self._body(shape, kind, inner)
        self._measures[name] = measure
        return measure

    def _named(self, name: str, place: _Place) -> _Measure:
        if name in _WIDTHS:
            return _Measure(_WIDTHS[name])
        full = full_name(name, place.namespace)
        if full not in self._measures:
            return self.fault(place, "type", f"no type named {name!r}")
        measure = self._measures[full]
        if measure is None:
            return self.fault(place, "recursion", f"{name} contains itself")
        if place.depth + measure.depth - 1 > DEPTH_MAX:
            return self.fault(place, "depth", f"nested deeper than {DEPTH_MAX} levels")
        return measure

    def _union(self, branches: list[object], place: _Place) -> _Measure:
        if len(branches) != 2 or branches[0] != "null" or _is_null(branches[1]) or isinstance(branches[1], list):
            return self.fault(place, "union", 'a union is ["null", T]')
        inner = self.type(branches[1], place)
        return _Measure(1, inner.fields, inner.depth)

    def _items(self, shape: Mapping[str, Any], part: str, place: _Place) -> _Measure:
        if part not in shape:
            return self.fault(place, "type", f"{shape['type']} without {part}")
        inner = self.type(shape[part], place.inner(part))
        if not inner.width and shape["type"] == "array":
            return self.fault(place, "zero-width", "items that take no bytes")
        if not inner.width:
            return self.fault(place, "zero-width", "values that take no bytes")
        return _Measure(1, inner.fields, inner.depth + 1)

    def _define(self, shape: Mapping[str, Any], place: _Place) -> tuple[str, _Place]:
        """Enter a named type; return its full name and the place inside it."""
        name, namespace = shape.get("name"), shape.get("namespace", place.namespace)
        if not isinstance(name, str) or not isinstance(namespace, str):
            self.fault(place, "name", f"{shape['type']} without a name")
            return "", place
        full = full_name(name, namespace)
        if not _is_full_name(full):
            self.fault(place, "name", f"{full!r} is no name: ASCII letters, digits and _, no digit first")
        if full in _WIDTHS or full in _COMPLEX:
            self.fault(place, "name", f"{full!r} is the name of an Avro type")
        if full in self._measures:
            self.fault(place, "name-once", f"{full} is defined twice")
        self._aliases(shape, place)
        self._measures[full] = None
        self._definitions[full] = shape
        return full, place._replace(namespace=full.rpartition(".")[0])

    def _aliases(self, shape: Mapping[str, Any], place: _Place) -> None:
        aliases = shape.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(each, str) and _is_full_name(each) for each in aliases):
            self.fault(place, "name", "aliases are a list of names")

    def _body(self, shape: Mapping[str, Any], kind: str, place: _Place) -> _Measure:
        if kind == "record":
            return self._record(shape, place)
        if kind == "enum":
            symbols = shape.get("symbols")
            if not isinstance(symbols, list) or not symbols or not all(isinstance(each, str) for each in symbols):
                return self.fault(place, "enum", "an enum without symbols")
            for symbol in symbols:
                if not _NAME.fullmatch(symbol):
                    self.fault(place, "name", f"symbol {symbol!r}: ASCII letters, digits and _, no digit first")
            if len(set(symbols)) < len(symbols):
                self.fault(place, "name-once", "a symbol stands twice")
            if "default" in shape and shape["default"] not in symbols:
                self.fault(place, "default", "the default is no symbol")
            return _Measure(1)
        size = shape.get("size")
        if type(size) is not int or not 1 <= size <= FIXED_MAX:
            return self.fault(place, "fixed", f"the size of a fixed is a number from 1 to {FIXED_MAX}")
        return _Measure(size)

    def _record(self, shape: Mapping[str, Any], place: _Place) -> _Measure:
        fields = shape.get("fields")
        if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
            return self.fault(place, "type", "a record without fields")
        width = count = 0
        depth = 1
        seen: set[str] = set()
        for number, field in enumerate(fields):
            name = field.get("name")
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.fault(place.field(f"fields[{number}]"), "name", f"{name!r} is no name of a field")
                continue
            inner = place.field(name)
            if name in seen:
                self.fault(inner, "name-once", "a field of this name stands twice")
            seen.add(name)
            measure = self._field(field, inner)
            width, count, depth = width + measure.width, count + 1 + measure.fields, max(depth, measure.depth + 1)
        return _Measure(width, count, depth)

    def _field(self, field: Mapping[str, Any], place: _Place) -> _Measure:
        if "type" not in field:
            return self.fault(place, "type", "a field without a type")
        if _is_null(field["type"]):
            return self.fault(place, "null", "a field that can only be null says nothing")
        self._aliases(field, place)
        if "logicalType" in field:
            self.fault(place, "logical-type", "logicalType stands beside the type, must stand inside it")
        before = len(self.found)
        measure = self.type(field["type"], place)
        sound = "default" in field and len(self.found) == before
        if sound and not self._accepts(field["type"], field["default"], place.namespace):
            self.fault(place, "default", "the default is no value of the type (of a union: of its first branch)")
        return measure

    def _logical(self, shape: Mapping[str, Any], place: _Place) -> None:
        logical, kind = shape["logicalType"], shape["type"]
        bases = _LOGICAL.get(logical) if isinstance(logical, str) else None
        if bases is None:
            self.fault(place, "logical-type", f"logical type {logical!r} is none of {', '.join(_LOGICAL)}")
        elif kind not in bases:
            self.fault(place, "logical-type", f"{logical} is on {kind}, must be on {' or '.join(bases)}")
        elif logical == "decimal":
            precision, scale, size = shape.get("precision"), shape.get("scale", 0), shape.get("size", FIXED_MAX)
            if type(precision) is not int or not 1 <= precision <= DECIMAL_DIGITS_MAX:
                self.fault(place, "logical-type", f"a decimal has a precision from 1 to {DECIMAL_DIGITS_MAX}")
            elif type(scale) is not int or not 0 <= scale <= precision:
                self.fault(place, "logical-type", "the scale of a decimal is from 0 to its precision")
            elif type(size) is int and (10**precision).bit_length() + 1 > 8 * size:
                self.fault(place, "logical-type", f"{size} bytes cannot hold {precision} digits")

    def _accepts(self, shape: Any, value: Any, namespace: str) -> bool:
        """Whether a default is a value of a type that has no faults."""
        if isinstance(shape, list):
            return value is None
        if isinstance(shape, str) and shape not in _WIDTHS:
            full = full_name(shape, namespace)
            return self._accepts(self._definitions[full], value, full.rpartition(".")[0])
        kind = shape if isinstance(shape, str) else shape["type"]
        match kind:
            case "boolean":
                return isinstance(value, bool)
            case "int" | "long":
                logical = None if isinstance(shape, str) else shape.get("logicalType")
                low, high = RANGES[logical or kind]
                return type(value) is int and low <= value <= high
            case "float" | "double":
                return type(value) in (int, float)
            case "bytes" | "fixed":
                octets = isinstance(value, str) and all(ord(each) < 256 for each in value)
                return octets and (kind == "bytes" or len(value) == shape["size"])
            case "string":
                return isinstance(value, str)
            case "enum":
                return value in shape["symbols"]
            case "array":
                return isinstance(value, list) and all(self._accepts(shape["items"], each, namespace) for each in value)
            case "map":
                return isinstance(value, dict) and all(
                    self._accepts(shape["values"], each, namespace) for each in value.values()
                )
        inner = full_name(shape["name"], shape.get("namespace", namespace)).rpartition(".")[0]
        return isinstance(value, dict) and all(
            self._accepts(field["type"], value[field["name"]], inner) if field["name"] in value else "default" in field
            for field in shape["fields"]
        )


def _is_full_name(text: str) -> bool:
    return all(_NAME.fullmatch(part) for part in text.split("."))


def _is_null(shape: object) -> bool:
    return shape == "null" or (isinstance(shape, dict) and shape.get("type") == "null")


def _parse_faults(schema: dict[str, Any]) -> list[Fault]:
    """What the two libraries say of a schema that the rules accept."""
    parsers: dict[str, Callable[[], object]] = {
        "avro": lambda: avro.schema.parse(json.dumps(schema)),
        "fastavro": lambda: fastavro.schema.parse_schema(schema),
    }
    found = []
    for library, parse in parsers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                parse()
        except Exception as error:  # they raise whatever the schema made them stumble over
            found.append(Fault("schema", "contract-parses", f"{library} refuses it: {type(error).__name__} {error}"))
    return found
