"""A contract: one version of a resource's Avro schema; field properties carry what the catalog must know of an item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import resources
from typing import Any, Final

from bianhe.schemas.errors import Rejected

AvroType = Any
"""A piece of an Avro schema as parsed JSON: a name, a list (union) or an object."""

EVENT_KINDS: Final = ("CREATED", "CHANGED", "CANCELLED", "CORRECTED", "SNAPSHOT")
EVENT_FIELDS: Final[tuple[Mapping[str, AvroType], ...]] = (
    {"name": "event_id", "type": "string"},
    {"name": "event_kind", "type": {"type": "enum", "name": "EventKind", "symbols": list(EVENT_KINDS)}},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "event_case", "type": ["null", "string"], "default": None},
)
_PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_NAMED: Final = ("record", "enum", "fixed")
EVENT_NAMES: Final = tuple(field["name"] for field in EVENT_FIELDS)
_OWN_PREFIXES: Final = ("bus_", "event_")


class InvalidContract(Rejected):
    """A schema that does not say what a contract must say."""


class Sharing(StrEnum):
    """Sharing type of an item (article 11)."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    WITHHELD = "withheld"

    @property
    def chinese(self) -> str:
        return {"unconditional": "无条件共享", "conditional": "有条件共享", "withheld": "不予共享"}[self.value]


class Part(StrEnum):
    """Base item 基础信息项 or business item 业务信息项 (article 12)."""

    BASE = "base"
    BUSINESS = "business"


class Derivation(StrEnum):
    """How the entity key follows from the natural key."""

    NATURAL = "natural"
    HMAC = "hmac"


@dataclass(frozen=True, slots=True)
class KeyRule:
    """From which items the entity key is derived, and how."""

    items: tuple[str, ...]
    derivation: Derivation


@dataclass(frozen=True, slots=True)
class Item:
    """An information item as the contract states it.

    `length` is in code points; `codes` names a code table, `check` a validator of identifiers; all three may be absent.
    """

    name: str
    title: str
    code: str
    type: AvroType
    part: Part
    sharing: Sharing
    sensitivity: int
    codes: str | None = None
    check: str | None = None
    length: int | None = None

    @property
    def nullable(self) -> bool:
        return isinstance(self.type, list)

    @property
    def value_type(self) -> AvroType:
        """The type without the null of a union."""
        return self.type[1] if isinstance(self.type, list) else self.type

    @property
    def kind(self) -> str:
        """The logical type if there is one, else the Avro type's name."""
        return kind_of(self.value_type)


def kind_of(shape: AvroType) -> str:
    """The logical type of a type that is no union, if there is one, else its Avro name."""
    if isinstance(shape, dict):
        return str(shape.get("logicalType") or shape["type"])
    return str(shape)


@dataclass(frozen=True)
class Contract:
    """A version of a resource's Avro schema: event fields first, then the items."""

    resource: str
    version: int
    title: str
    record_name: str
    key: KeyRule
    items: tuple[Item, ...]
    schema: Mapping[str, Any]

    @cached_property
    def by_name(self) -> Mapping[str, Item]:
        return {item.name: item for item in self.items}

    @property
    def unconditional(self) -> tuple[str, ...]:
        """The items of the open channel, in contract order."""
        return tuple(item.name for item in self.items if item.sharing is Sharing.UNCONDITIONAL)

    def in_order(self, names: frozenset[str]) -> tuple[str, ...]:
        return tuple(item.name for item in self.items if item.name in names)

    @classmethod
    def parse(cls, text: str) -> Contract:
        """Read a contract from its Avro JSON; raises InvalidContract naming the field and what it lacks."""
        try:
            schema = json.loads(text)
            fields = schema["fields"]
            _check_event_fields(fields[: len(EVENT_FIELDS)])
            record_name = full_name(schema["name"], schema.get("namespace", ""))
            namespace = record_name.rpartition(".")[0]
            items = tuple(_item(field, namespace) for field in fields[len(EVENT_FIELDS) :])
            key = KeyRule(tuple(schema["key"]["items"]), Derivation(schema["key"]["derivation"]))
            contract = cls(
                resource=schema["resource"],
                version=int(schema["version"]),
                title=schema["title"],
                record_name=record_name,
                key=key,
                items=items,
                schema=schema,
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InvalidContract(f"not a contract: {type(error).__name__} {error}") from error
        if missing := set(key.items) - set(contract.by_name):
            raise InvalidContract(f"the key names items that the contract lacks: {sorted(missing)}")
        return contract


def full_name(name: str, namespace: str) -> str:
    """A type's name with the namespace in force where it stands."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _check_event_fields(fields: Sequence[Mapping[str, Any]]) -> None:
    # A view states these types for every contract: other bytes under them would be read as other values.
    stated = [{part: field[part] for part in ("name", "type", "default") if part in field} for field in fields]
    for number, right in enumerate(EVENT_FIELDS, 1):
        if stated[number - 1 : number] != [right]:
            raise InvalidContract(
                f"field {number} is not {json.dumps(right)}",
                cause="every contract and every view begins with the same four fields",
                cure="write it so",
            )


def _item(field: Mapping[str, Any], namespace: str) -> Item:
    if name := _borrowed(field.get("type"), namespace, set()):
        raise InvalidContract(
            f"field {field.get('name')!r} uses the type {name} of another field",
            cause="a view that lacks the other field would lack the type",
            cure="give each item a type of its own",
        )
    if str(field.get("name")).startswith(_OWN_PREFIXES):
        raise InvalidContract(
            f"field {field.get('name')!r} begins like a field of the bus ({', '.join(_OWN_PREFIXES)})",
            cause="a view has these fields beside its items",
            cure="give the item another name",
        )
    try:
        return Item(
            name=field["name"],
            title=field["title"],
            code=field["code"],
            type=field["type"],
            part=Part(field["part"]),
            sharing=Sharing(field["sharing"]),
            sensitivity=int(field["sensitivity"]),
            codes=field.get("codes"),
            check=field.get("check"),
            length=field.get("length"),
        )
    except (KeyError, ValueError) as error:
        raise InvalidContract(f"field {field.get('name')!r}: {type(error).__name__} {error}") from error


def _borrowed(shape: AvroType, namespace: str, defined: set[str]) -> str | None:
    """A named type that is used here and defined neither here nor in `defined`, None if there is none."""
    if isinstance(shape, str):
        used = full_name(shape, namespace)
        return None if shape in _PRIMITIVES or used in defined else used
    if isinstance(shape, list):
        parts = shape
    elif not isinstance(shape, dict):
        return None
    elif shape.get("type") in _NAMED:
        new = full_name(str(shape.get("name")), str(shape.get("namespace", namespace)))
        namespace = new.rpartition(".")[0]
        defined.add(new)
        parts = [field.get("type") for field in shape.get("fields", ())]
    else:
        parts = [shape.get({"array": "items", "map": "values"}.get(str(shape.get("type")), "type"))]
    return next((name for part in parts if (name := _borrowed(part, namespace, defined))), None)


def shipped(resource: str, version: int) -> str:
    """The text of a contract that ships with the bus; raises InvalidContract if there is none."""
    source = resources.files("bianhe.schemas") / "avro" / f"{resource}.v{version}.avsc"
    if not source.is_file():
        raise InvalidContract(f"no contract {resource}.v{version} ships with the bus")
    return source.read_text(encoding="utf-8")
