"""Contracts, records and views made up by hypothesis, and what fastavro makes of them: the oracle of the slicer."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import fastavro
from hypothesis import strategies as st

from bianhe.schemas.contract import EVENT_FIELDS, EVENT_NAMES, Contract
from bianhe.schemas.grant import Condition, Mask, MaskKind, Operator
from bianhe.schemas.view import View, constant

Schema = dict[str, Any]
SECRET = b"a secret of one grant, not a real one"
_NAMES = ("string", "boolean", "int", "long", "double", "bytes")
_LOGICAL = {
    "date": {"type": "int", "logicalType": "date"},
    "time-millis": {"type": "int", "logicalType": "time-millis"},
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    "uuid": {"type": "string", "logicalType": "uuid"},
}


class _Namer:
    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"T{self._count}"


def _types(name: Callable[[], str]) -> st.SearchStrategy[Any]:
    """Types that R20 allows, nested a few levels; every named type is new."""
    fixed_decimal = {"type": "fixed", "size": 5, "logicalType": "decimal", "precision": 11, "scale": 0}
    flat = st.one_of(
        st.sampled_from([*_NAMES, *_LOGICAL.values()]),
        st.integers(1, 200).map(
            lambda count: {"type": "enum", "name": name(), "symbols": [f"S{i}" for i in range(count)]}
        ),
        st.integers(1, 20).map(lambda size: {"type": "fixed", "name": name(), "size": size}),
        st.builds(lambda: {**fixed_decimal, "name": name()}),
    )
    return st.recursive(
        flat,
        lambda inner: st.one_of(
            inner.filter(lambda shape: not isinstance(shape, list)).map(lambda shape: ["null", shape]),
            inner.map(lambda shape: {"type": "array", "items": shape}),
            inner.map(lambda shape: {"type": "map", "values": shape}),
            st.lists(inner, min_size=1, max_size=4).map(
                lambda shapes: {
                    "type": "record",
                    "name": name(),
                    "fields": [{"name": f"f{i}", "type": shape} for i, shape in enumerate(shapes)],
                }
            ),
        ),
        max_leaves=6,
    )


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """A contract of one to eight items of any type; half of the flat ones may be null."""
    name = _Namer()
    maskable = st.sampled_from(["string", _LOGICAL["date"]])
    shapes = draw(st.lists(_types(name) | maskable, min_size=1, max_size=8))
    nullable = draw(st.lists(st.booleans(), min_size=len(shapes), max_size=len(shapes)))
    types = [["null", s] if null and not isinstance(s, list) else s for s, null in zip(shapes, nullable, strict=True)]
    return contract_of({f"item_{i}": shape for i, shape in enumerate(types)})


def contract_of(types: Mapping[str, Any]) -> Contract:
    """A contract with these items."""
    items = [
        {"name": name, "type": shape, "title": "项", "code": name, "part": "base",
         "sharing": "conditional", "sensitivity": 1}
        for name, shape in types.items()
    ]  # fmt: skip
    head = {"type": "record", "name": "Sample", "namespace": "bianhe.sample", "title": "样例", "resource": "sample"}
    key = {"items": [next(iter(types))], "derivation": "natural"}
    return Contract.parse(json.dumps({**head, "version": 1, "key": key, "fields": [*EVENT_FIELDS, *items]}))


def values(shape: Any) -> st.SearchStrategy[Any]:
    """Values of a type as fastavro takes them."""
    if isinstance(shape, list):
        return st.none() | values(shape[1])
    kind = shape if isinstance(shape, str) else shape.get("logicalType") or shape["type"]
    match kind:
        case "string":
            return st.text(max_size=100)
        case "enum":
            return st.sampled_from(shape["symbols"])
        case "fixed":
            return st.binary(min_size=shape["size"], max_size=shape["size"])
        case "decimal":
            bound = 10 ** shape["precision"] - 1
            return st.integers(-bound, bound).map(lambda n: Decimal(f"{n}e-{shape.get('scale', 0)}"))
        case "array":
            return st.lists(values(shape["items"]), max_size=4)
        case "map":
            return st.dictionaries(st.text(max_size=70), values(shape["values"]), max_size=4)
        case "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in shape["fields"]})
    return _SIMPLE[kind]


_SIMPLE: Mapping[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": st.integers(-(1 << 63), (1 << 63) - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bytes": st.binary(max_size=100),
    "date": st.dates(),
    "time-millis": st.times().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    "timestamp-millis": st.datetimes(timezones=st.just(UTC)).map(
        lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
    ),
    "timestamp-micros": st.datetimes(timezones=st.just(UTC)),
    "uuid": st.uuids(),
}


@st.composite
def views(draw: st.DrawFn, contract: Contract, record: Mapping[str, Any]) -> View:
    """A view of some items, masked and filtered as the types allow; about half of the conditions hold."""
    items = tuple(item for item in contract.items if draw(st.booleans()))
    masks: dict[str, Mask] = {}
    for item in items:
        kinds = [None, None, MaskKind.NULL, MaskKind.CONSTANT]
        kinds += [MaskKind.FIRST, MaskKind.PSEUDONYM] if item.kind == "string" else []
        kinds += [MaskKind.YEAR] if item.kind == "date" else []
        if (kind := draw(st.sampled_from(kinds))) is not None:
            text = str(draw(st.integers(1, 30))) if kind is MaskKind.FIRST else draw(st.text(max_size=80))
            argument = text if kind in (MaskKind.FIRST, MaskKind.CONSTANT) else ""
            masks[item.name] = Mask(item=item.name, kind=kind, argument=argument)
    rule: list[Condition] = []
    for item in contract.items:
        comparable = item.kind in ("string", "enum", "int", "long", "date", "boolean")
        if comparable and item.name not in masks and draw(st.integers(0, 3)) == 0:
            texts = [_as_text(draw(values(item.value_type)))]
            if record[item.name] is not None and draw(st.booleans()):
                texts.append(_as_text(record[item.name]))
            if item.kind == "string" and draw(st.booleans()):
                prefix = texts[-1][: draw(st.integers(0, 5))]
                rule.append(Condition(item=item.name, operator=Operator.PREFIX, values=(prefix,)))
            else:
                rule.append(Condition(item=item.name, operator=Operator.IN, values=tuple(texts)))
    return View(contract, tuple(item.name for item in items), masks, tuple(rule))


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def encode(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, cast(Any, schema), record)
    return out.getvalue()


def decode(schema: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    return cast(dict[str, Any], fastavro.schemaless_reader(io.BytesIO(body), cast(Any, schema), None))


def delivered(view: View, record: Mapping[str, Any], *, plain: bool = False) -> bytes | None:
    """What a view delivers of a decoded record, by fastavro: row rule, projection, masks, encoding.

    With `plain` the record was decoded by the schema without logical types.
    """
    for condition in view.row_rule:
        item, value = view.contract.by_name[condition.item], record[condition.item]
        if value is None:
            return None
        if condition.operator is Operator.PREFIX:
            if not value.startswith(condition.values[0]):
                return None
        elif (_days(value) if item.kind == "date" else value) not in [constant(item, t) for t in condition.values]:
            return None
    cut = {name: record[name] for name in (*EVENT_NAMES, *view.items)}
    for name, mask in view.masks.items():
        cut[name] = _masked(cut[name], mask)
    schema = view.schema()
    shape = {**schema, "fields": [field for field in schema["fields"] if not field["name"].startswith("bus_")]}
    return encode(without_logical_types(shape) if plain else shape, cut)


def _masked(value: Any, mask: Mask) -> Any:
    if mask.kind is MaskKind.CONSTANT:
        return mask.argument
    if mask.kind is MaskKind.NULL or value is None:
        return None
    if mask.kind is MaskKind.FIRST:
        return value[: int(mask.argument)]
    if mask.kind is MaskKind.YEAR:
        return (date(1970, 1, 1) + timedelta(days=_days(value))).year
    return hmac.new(SECRET, value.encode(), hashlib.sha256).hexdigest()[:32]


def _days(value: date | int) -> int:
    return value if isinstance(value, int) else (value - date(1970, 1, 1)).days


def without_logical_types(shape: Any) -> Any:
    """The same schema, its values as they stand in the bytes."""
    if isinstance(shape, list):
        return [without_logical_types(each) for each in shape]
    if isinstance(shape, dict):
        return {key: without_logical_types(each) for key, each in shape.items() if key != "logicalType"}
    return shape


EVENT = {"event_id": "01975f3c-0000-7000-8000-000000000000", "event_kind": "CHANGED", "event_case": None} | {
    "event_time": datetime(2026, 11, 22, tzinfo=UTC)
}


def records(contract: Contract) -> st.SearchStrategy[dict[str, Any]]:
    """Records of a contract as fastavro takes them."""
    return values({**contract.schema})
