"""CSV and JSON Lines into changes to publish: streaming, one row at a time, each row a change or a reject.

Columns are the contract's items, all of them, and optionally `event_id`, `event_kind` (default CHANGED; REMOVED for an
entity of which no record is kept any more), `event_time` and `event_case`. Dates are YYYY-MM-DD, times ISO 8601 with
offset, booleans true or false, bytes hexadecimal; records, lists and maps are JSON; what is empty is null. A row's
number is the one that an editor or spreadsheet shows: the header of a CSV file is row 1.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, BinaryIO, Final, TextIO

from bianhe.producers.encodings import UnreadableFile
from bianhe.producers.validation import InvalidEvent, written_out
from bianhe.schemas.contract import EVENT_KINDS, EVENT_NAMES, AvroType, Contract, kind_of

REMOVED: Final = "REMOVED"
REJECT_COLUMNS: Final = ("reject_row", "reject_field", "reject_reason", "reject_line")
"""What a reject file has before the columns of its source; an importer passes over them, so it can be read again.

`reject_line` holds a row that has no columns: one that is no CSV or JSON, or has too many or too few fields.
"""
LINE_CHARACTERS_MAX: Final = 4_000_000

_NESTED: Final = ("record", "array", "map")
_EVENT_COLUMNS: Final = ("event_id", "event_case", "event_time")


class Format(StrEnum):
    CSV = "csv"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True)
class Change:
    """One row: the items of an event, or the key items of a removal. What the row leaves open is None."""

    row: int
    source: Mapping[str, Any] = field(repr=False)
    kind: str
    items: Mapping[str, Any] = field(repr=False)
    event_id: str | None
    event_time: datetime | None
    event_case: str | None


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that cannot be published, and why. `source` has the whole row and is for the reject file alone."""

    row: int
    source: Mapping[str, Any] = field(repr=False)
    fault: InvalidEvent

    def fields(self) -> dict[str, Any]:
        """The row of the reject file."""
        facts = dict(zip(REJECT_COLUMNS, (self.row, self.fault.field, self.fault.reason, ""), strict=True))
        return {**facts, **self.source, **facts, REJECT_COLUMNS[-1]: self.source.get(REJECT_COLUMNS[-1], "")}


def changes(file: BinaryIO, encoding: str, format: Format, contract: Contract) -> Iterator[Change | Reject]:
    """Read a file row by row; raises UnreadableFile where it has no rows to speak of.

    For CSV that is a header that is not the contract's (before the first row), or a quote that is never closed.
    The file stays open, and its owner's to close.
    """
    text = io.TextIOWrapper(file, encoding=encoding, newline="" if format is Format.CSV else "\n")
    rows = _csv_rows(text, contract) if format is Format.CSV else _json_rows(text)
    reader = _RowReader(contract)
    try:
        for number, source, fault in rows:
            try:
                if fault is not None:
                    raise fault
                yield reader.change(number, source)
            except InvalidEvent as error:
                yield Reject(number, source, error)
    finally:
        if not file.closed:
            text.detach()


class _RowReader:
    """Reads the fields of a row by the types of a contract's items, compiled once."""

    def __init__(self, contract: Contract) -> None:
        self._resource = f"{contract.resource}.v{contract.version}"
        self._items = tuple(contract.by_name)
        self._key_items = contract.key.items
        self._kinds = {item.name: item.kind for item in contract.items}
        self._nested = {item.name: item.type for item in written_out(contract) if item.kind in _NESTED}
        self._readers = {item.name: _READERS[item.kind] for item in contract.items if item.kind in _READERS}
        self._readers["event_time"] = _instant
        self._known = frozenset((*self._items, *EVENT_NAMES, *REJECT_COLUMNS))

    def change(self, number: int, source: Mapping[str, Any]) -> Change:
        """The change that a row asks for; raises InvalidEvent."""
        if not source.keys() <= self._known:
            raise InvalidEvent(min(source.keys() - self._known), f"is no item of {self._resource}")
        kind = source.get("event_kind") or "CHANGED"
        if kind not in EVENT_KINDS and kind != REMOVED:
            raise InvalidEvent("event_kind", f"is none of {', '.join(EVENT_KINDS)}, {REMOVED}")
        event_id, event_case, event_time = (self._value(source, name) for name in _EVENT_COLUMNS)
        if not isinstance(event_id, str | None):
            raise InvalidEvent("event_id", "must be text")
        if not isinstance(event_case, str | None):
            raise InvalidEvent("event_case", "must be text")
        if not isinstance(event_time, datetime | None):
            raise InvalidEvent("event_time", "must be text in ISO 8601")
        # A removal is of the entity: what else stands in its row is not sent and need not be right.
        wanted = self._key_items if kind == REMOVED else self._items
        items = {name: self._value(source, name) for name in wanted}
        return Change(number, source, kind, items, event_id, event_time, event_case)

    def _value(self, source: Mapping[str, Any], name: str) -> Any:
        value = source.get(name)
        if value is None or value == "":
            return None
        try:
            if name in self._nested:
                return _read(self._nested[name], _json(value) if type(value) is str else value)
            if type(value) is str:
                reader = self._readers.get(name)
                return reader(value) if reader else value
        except _Unread as error:
            raise InvalidEvent(name, str(error)) from None
        return _number(value, self._kinds.get(name, ""))


def _csv_rows(text: TextIO, contract: Contract) -> Iterator[tuple[int, dict[str, Any], InvalidEvent | None]]:
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    header = _header(reader, contract)
    for number in itertools.count(2):
        began = lines.number + 1
        lines.taken.clear()
        try:
            values = next(reader, None)
        except csv.Error as error:
            if lines.number > began or "unexpected end" in str(error):
                raise UnreadableFile(
                    f"row {number} is not CSV: {error}",
                    cause=f"a quote in line {began} is never closed",
                    cure=f"correct it and go on from it: --from-row {number}",
                ) from error
            yield number, lines.whole(), InvalidEvent("row", f"is not CSV: {error}")
            continue
        if values is None:
            return
        if values and len(values) != len(header):
            yield number, lines.whole(), InvalidEvent("row", f"{len(values)} fields, the header has {len(header)}")
        elif values:
            yield number, dict(zip(header, values, strict=True)), None


def _header(reader: Iterator[Sequence[str]], contract: Contract) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise UnreadableFile(f"the header is not CSV: {error}") from error
    allowed = [*contract.by_name, *EVENT_NAMES, *REJECT_COLUMNS]
    resource = f"{contract.resource}.v{contract.version}"
    cure = f"the columns are {', '.join(contract.by_name)}; optional are {', '.join(EVENT_NAMES)}"
    if missing := [name for name in contract.by_name if name not in header]:
        raise UnreadableFile(f"columns are missing for {resource}: {', '.join(missing)}", cure=cure)
    if unknown := [name for name in header if name not in allowed]:
        raise UnreadableFile(f"columns that {resource} does not have: {', '.join(map(repr, unknown))}", cure=cure)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UnreadableFile(f"columns that stand twice: {', '.join(twice)}", cure=cure)
    return header


def _json_rows(text: TextIO) -> Iterator[tuple[int, dict[str, Any], InvalidEvent | None]]:
    lines = _Lines(text)
    for line in lines:
        try:
            row = _json(line)
            if not isinstance(row, dict):
                raise _Unread("is no JSON object")
        except _Unread as error:
            if line.strip():
                yield lines.number, lines.whole(), InvalidEvent("row", str(error))
        else:
            yield lines.number, row, None
        lines.taken.clear()


class _Lines:
    """The lines of a text, of bounded length; `taken` are those since the caller last cleared it."""

    def __init__(self, text: TextIO) -> None:
        self.number = 0
        self.taken: list[str] = []
        self._text = text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_CHARACTERS_MAX + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if sum(map(len, self.taken)) > LINE_CHARACTERS_MAX:
            raise UnreadableFile(f"the row at line {self.number} is longer than {LINE_CHARACTERS_MAX} characters")
        return line

    def whole(self) -> dict[str, Any]:
        return {REJECT_COLUMNS[-1]: "".join(self.taken).rstrip("\r\n")}


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
    except _Unread:
        raise
    except (ValueError, RecursionError):
        raise _Unread("is not JSON") from None


def _read(shape: AvroType, value: Any) -> Any:
    """A JSON value by its Avro type; what is not of the type stays for the validator to name."""
    if isinstance(shape, list):
        return None if value is None else _read(shape[1], value)
    kind = kind_of(shape)
    if kind == "record" and isinstance(value, dict):
        types = {field["name"]: field["type"] for field in shape["fields"]}
        return {name: _within(name, types[name], each) if name in types else each for name, each in value.items()}
    if kind == "array" and isinstance(value, list):
        return [_within(f"number {place}", shape["items"], each) for place, each in enumerate(value, 1)]
    if kind == "map" and isinstance(value, dict):
        # A key of a map may be a personal datum.
        entries = enumerate(value.items(), 1)
        return {name: _within(f"number {place}", shape["values"], each) for place, (name, each) in entries}
    if type(value) is str:
        return _READERS[kind](value) if kind in _READERS else value
    return _number(value, kind)


def _within(place: str, shape: AvroType, value: Any) -> Any:
    try:
        return _read(shape, value)
    except _Unread as error:
        raise _Unread(f"{place}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Unread("names a field twice")
    return fields


def _refuse(constant: str) -> Any:
    raise _Unread(f"{constant} is no JSON")


def _number(value: Any, kind: str) -> Any:
    if kind == "decimal" and type(value) is int:
        return Decimal(value)
    if kind in ("double", "float") and isinstance(value, Decimal):
        return float(value)
    return value


class _Unread(ValueError):
    """A text that is no value of its column's type; says which form is right."""


def _matching(pattern: str, read: Callable[[str], Any], form: str) -> Callable[[str], Any]:
    compiled = re.compile(pattern)

    def reader(text: str) -> Any:
        if compiled.fullmatch(text):
            # The form may be right and the day not: 2026-02-30.
            with suppress(ValueError):
                return read(text)
        raise _Unread(f"must be {form}")

    return reader


_NUMBER: Final = r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?"
_instant = _matching(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)",
    datetime.fromisoformat,
    "a time with offset, such as 2026-11-20T08:30:00+08:00",
)
_octets = _matching(r"([0-9a-fA-F]{2})*", bytes.fromhex, "hexadecimal digits")
_whole = _matching(r"[+-]?[0-9]{1,20}", int, "a whole number")
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "bytes": _octets,
    "boolean": _matching("true|false", lambda text: text == "true", "true or false"),
    "int": _whole,
    "long": _whole,
    "float": _matching(_NUMBER, float, "a number"),
    "double": _matching(rf"{_NUMBER}([eE][+-]?[0-9]{{1,3}})?", float, "a number"),
    "fixed": _octets,
    "date": _matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date.fromisoformat, "a date, such as 2026-11-20"),
    "time-millis": _matching(
        r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?", time.fromisoformat, "a time of day, such as 08:30:00"
    ),
    "decimal": _matching(_NUMBER, Decimal, "a decimal number"),
    "timestamp-millis": _instant,
    "timestamp-micros": _instant,
}
