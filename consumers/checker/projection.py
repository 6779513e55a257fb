"""What a source record says, and what a view makes of it: the checker's own reading of contract, mask and row rule."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from bianhe.consumers.checker.timeline import Document, Feed
from bianhe.schemas.errors import Rejected

EVENT: Final = ("event_id", "event_kind", "event_time", "event_case")
_EPOCH: Final = date(1970, 1, 1)
_FIRST_DAY: Final = (date.min - _EPOCH).days
_LAST_DAY: Final = (date.max - _EPOCH).days
_DAY: Final = 86_400_000
_RANGES: Final = {
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "date": (_FIRST_DAY, _LAST_DAY),
    "time-millis": (0, _DAY - 1),
    "timestamp-millis": (_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1),
    "timestamp-micros": (_FIRST_DAY * _DAY * 1000, (_LAST_DAY + 1) * _DAY * 1000 - 1),
}
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
Record = Mapping[str, Any]


class NotOfItsSchema(Rejected):
    """Bytes that are not exactly one record of their schema. Says nothing of what they hold."""


class Shape:
    """An Avro record schema, read and written strictly, with values as they stand in the bytes (a date is a number)."""

    def __init__(self, fields: list[dict[str, Any]]) -> None:
        self.types = {field["name"]: field["type"] for field in fields}
        plain = [{"name": field["name"], "type": _without_logic(field["type"])} for field in fields]
        self._schema = parse_schema({"type": "record", "name": "Record", "fields": plain})
        self._checks = {name: check for name, kind in self.types.items() if (check := _check(kind))}

    def write(self, record: Record) -> bytes:
        out = BytesIO()
        schemaless_writer(out, self._schema, record)
        return out.getvalue()

    def read(self, body: bytes) -> dict[str, Any]:
        """The fields of a record; raises NotOfItsSchema also where another encoding would say the same."""
        record, rest = self.read_loosely(body)
        if rest:
            raise NotOfItsSchema(f"{rest} bytes follow the last field")
        if self.write(record) != body:
            raise NotOfItsSchema("the encoding is not the canonical one")
        for name, check in self._checks.items():
            if not check(record[name]):
                raise NotOfItsSchema(f"{name} is outside the range of its type")
        return record

    def read_loosely(self, body: bytes) -> tuple[dict[str, Any], int]:
        """The fields of a record in whatever encoding, and how many bytes follow it; raises NotOfItsSchema."""
        stream = BytesIO(body)
        try:
            record = schemaless_reader(stream, self._schema, None)
        except Exception as error:  # a decoder given hostile bytes may raise anything
            raise NotOfItsSchema(f"it cannot be decoded: {type(error).__name__}") from error
        assert isinstance(record, dict)
        return record, len(body) - stream.tell()


class Projection:
    """What one view makes of records, under the contract that was the latest at the time."""

    def __init__(self, feed: Feed, contract: Document, secret: bytes | None) -> None:
        self.feed = feed
        self._secret = secret
        kinds = {field["name"]: field["type"] for field in contract["fields"]}
        self._items = [name for name in kinds if name in feed.items and name not in EVENT]
        fields = [{"name": name, "type": kinds[name]} for name in EVENT]
        for name in self._items:
            kind = feed.masks.get(name, ("", ""))[0]
            fields.append({"name": name, "type": masked_type(kinds[name], kind) if kind else kinds[name]})
        self.shape = Shape(fields)
        self._tests = [_test(kinds.get(item), item, how, texts) for item, how, texts in feed.conditions]
        self.judgeable = secret is not None or all(kind != "pseudonym" for kind, _ in feed.masks.values())

    def lets_in(self, record: Record) -> bool:
        """Whether the row rule holds."""
        return all(test(record) for test in self._tests)

    def of(self, record: Record) -> dict[str, Any]:
        """The fields that a delivery of this record has, from `event_id` on."""
        found = {name: record[name] for name in EVENT}
        for name in self._items:
            value = record.get(name)
            mask = self.feed.masks.get(name)
            found[name] = value if mask is None else _masked(mask, value, self._secret)
        return found


def masked_type(kind: Any, mask: str) -> Any:
    """The Avro type of a masked item: nullable as before, but a constant never is and a null always."""
    nullable = isinstance(kind, list)
    if mask == "constant":
        return "string"
    if mask == "null":
        return kind if nullable else ["null", kind]
    masked = "int" if mask == "year" else "string"
    return ["null", masked] if nullable else masked


@dataclass(frozen=True, slots=True)
class Secrets:
    """The routers' pseudonym key, from which every grant has a secret of its own."""

    key: bytes | None

    def of(self, grant: str) -> bytes | None:
        return None if self.key is None else hmac.digest(self.key, grant.encode(), "sha256")


def _masked(mask: tuple[str, str], value: Any, secret: bytes | None) -> Any:
    kind, argument = mask
    if kind == "constant":
        return argument
    if kind == "null" or value is None:
        return None
    if kind == "first":
        return value[: int(argument)]
    if kind == "year":
        return (_EPOCH + timedelta(days=value)).year
    return hmac.digest(secret or b"", value.encode(), "sha256").hex()[:32]


def _test(kind: Any, item: str, how: str, texts: tuple[str, ...]) -> Callable[[Record], bool]:
    bare = _bare(kind)
    if how == "prefix":
        return lambda record: isinstance(value := record.get(item), str) and value.startswith(texts[0])
    wanted = {_constant(bare, text) for text in texts}
    return lambda record: (value := record.get(item)) is not None and value in wanted


def _constant(kind: Any, text: str) -> Any:
    name = _name(kind)
    if name == "date":
        return (date.fromisoformat(text) - _EPOCH).days
    if name in ("int", "long"):
        return int(text)
    return text == "true" if name == "boolean" else text


def _bare(kind: Any) -> Any:
    return next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind


def _name(kind: Any) -> str:
    return str(kind.get("logicalType") or kind["type"]) if isinstance(kind, dict) else str(kind)


def _without_logic(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_without_logic(branch) for branch in kind]
    if not isinstance(kind, dict):
        return kind
    kept = {key: kind[key] for key in ("type", "name", "symbols", "size") if key in kind}
    for key in ("items", "values"):
        if key in kind:
            kept[key] = _without_logic(kind[key])
    if "fields" in kind:
        kept["fields"] = [{"name": field["name"], "type": _without_logic(field["type"])} for field in kind["fields"]]
    return kept["type"] if list(kept) == ["type"] else kept


def _check(kind: Any) -> Callable[[Any], bool] | None:
    """What must hold of a value beyond what any Avro reader sees to; None where nothing must."""
    if isinstance(kind, list):
        bare = _check(_bare(kind))
        return bare and (lambda value: value is None or bare(value))
    name = _name(kind)
    if name in _RANGES:
        low, high = _RANGES[name]
        return lambda value: low <= value <= high
    if name == "uuid":
        return lambda value: _UUID.fullmatch(value) is not None
    if name == "decimal":
        bound, longest = 10 ** kind["precision"], 10 ** kind["precision"] - 1
        most = kind.get("size", longest.bit_length() // 8 + 1)
        return lambda value: 0 < len(value) <= most and abs(int.from_bytes(value, "big", signed=True)) < bound
    if name == "array" and (each := _check(kind["items"])):
        return lambda value: all(map(each, value))
    if name == "map" and (inner := _check(kind["values"])):
        return lambda value: all(map(inner, value.values()))
    if name == "record":
        checks = {field["name"]: test for field in kind["fields"] if (test := _check(field["type"]))}
        return lambda value: all(test(value[field]) for field, test in checks.items())
    return None
