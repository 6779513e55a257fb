"""Kafka's own protocol, from the definitions in the broker's jar: every operation that it offers can be asked.

kafka-python knows the messages of clients that it serves, not those of share groups, tokens or brokers.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from uuid import UUID
from zipfile import ZipFile

from bianhe.infra.embedded.jars import default_cache, kafka_jars
from bianhe.infra.kafka.session import Session

Values = dict[str, Any]
"""The fields of a message by Kafka's names; what is left out has its default."""

_NUMBERS: Final = {
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
    "bool": ">?",
}
_MESSAGE: Final = re.compile(r"common/message/\w+(Request|Response)\.json")
_COMMENT: Final = re.compile(r"^\s*//.*$", re.MULTILINE)
API_VERSIONS: Final = "ApiVersions"


@dataclass(frozen=True)
class Definition:
    """One message: its number, its versions, its fields."""

    key: int
    oldest: int
    newest: int
    flexible_from: int
    fields: tuple[Values, ...]
    structs: Values = field(default_factory=dict)


@cache
def _definitions() -> dict[str, Definition]:
    (jar,) = (jar for jar in kafka_jars(default_cache()) if jar.name.startswith("kafka-clients-"))
    with ZipFile(jar) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist() if _MESSAGE.fullmatch(name)]
    documents = [json.loads(_COMMENT.sub("", text)) for text in texts]
    # Of messages that Kafka gave up, no fields are left.
    return dict(_definition(each) for each in documents if "apiKey" in each and "fields" in each)


def _definition(document: Values) -> tuple[str, Definition]:
    oldest, newest = _range(document["validVersions"])
    flexible_from = _range(document["flexibleVersions"])[0]
    structs = {each["name"]: each["fields"] for each in document.get("commonStructs", ())}
    fields = tuple(document["fields"])
    return document["name"], Definition(document["apiKey"], oldest, newest, flexible_from, fields, structs)


def offered(session: Session) -> dict[str, int]:
    """The newest version of each operation that this broker offers here, by the operation's name."""
    names = {each.key: name.removesuffix("Request") for name, each in _definitions().items() if "Request" in name}
    answer = ask(session, API_VERSIONS, 3, {"ClientSoftwareName": "bianhe", "ClientSoftwareVersion": "0"})
    return {names[each["ApiKey"]]: each["MaxVersion"] for each in answer["ApiKeys"]}


def ask(session: Session, operation: str, version: int, values: Values) -> Values:
    """Send one request and return the decoded response."""
    request = _definitions()[f"{operation}Request"]
    flexible = version >= request.flexible_from
    header = struct.pack(">hhih", request.key, version, 1, 6) + b"bianhe" + (b"\0" if flexible else b"")
    answer = session.exchange(header + _Writer(version, flexible, request.structs).fields(request.fields, values))
    response = _definitions()[f"{operation}Response"]
    flexible = version >= response.flexible_from
    reader = _Reader(answer[4:], version, flexible, response.structs)
    if flexible and operation != API_VERSIONS:
        reader.skip_tagged()
    return reader.fields(response.fields)


def error_codes(answer: Any) -> set[int]:
    """Every error code in an answer, however deep."""
    if isinstance(answer, list):
        return {code for each in answer for code in error_codes(each)}
    if not isinstance(answer, dict):
        return set()
    own = {value for name, value in answer.items() if name.endswith("ErrorCode")}
    return own | {code for value in answer.values() for code in error_codes(value)}


def strings(answer: Any) -> set[str]:
    """Every string in an answer, however deep."""
    if isinstance(answer, dict | list):
        parts = answer.values() if isinstance(answer, dict) else answer
        return {text for part in parts for text in strings(part)}
    return {answer} if isinstance(answer, str) else set()


class _Writer:
    def __init__(self, version: int, flexible: bool, structs: Values) -> None:
        self._version, self._flexible, self._structs = version, flexible, structs

    def fields(self, fields: tuple[Values, ...], values: Values) -> bytes:
        known = {each["name"] for each in fields}
        assert values.keys() <= known, f"no such field: {values.keys() - known}"
        present = [each for each in fields if _present(each, self._version) and "tag" not in each]
        body = b"".join(self._value(each, values.get(each["name"], _default(each))) for each in present)
        return body + (b"\0" if self._flexible else b"")

    def _value(self, field: Values, value: Any) -> bytes:
        kind = field["type"]
        if kind.startswith("[]"):
            items = [] if value is None else [self._item(kind[2:], field, item) for item in value]
            return self._length(None if value is None else len(items), ">i") + b"".join(items)
        if "nullableVersions" in field and _is_struct(kind):
            return b"\xff" if value is None else b"\1" + self._item(kind, field, value)
        return self._item(kind, field, value)

    def _item(self, kind: str, field: Values, value: Any) -> bytes:
        if kind in _NUMBERS:
            return struct.pack(_NUMBERS[kind], value)
        if kind == "uuid":
            return bytes(value.bytes)
        if _is_struct(kind):
            return self.fields(field.get("fields") or self._structs[kind], value)
        raw = value.encode() if isinstance(value, str) else value
        prefix = self._length(None if raw is None else len(raw), ">h" if kind == "string" else ">i")
        return prefix + (raw or b"")

    def _length(self, length: int | None, plain: str) -> bytes:
        if not self._flexible:
            return struct.pack(plain, -1 if length is None else length)
        rest, encoded = 0 if length is None else length + 1, bytearray()
        while rest > 0x7F:
            encoded.append(rest & 0x7F | 0x80)
            rest >>= 7
        return bytes([*encoded, rest])


class _Reader:
    def __init__(self, data: bytes, version: int, flexible: bool, structs: Values) -> None:
        self._data, self._at = data, 0
        self._version, self._flexible, self._structs = version, flexible, structs

    def fields(self, fields: tuple[Values, ...]) -> Values:
        present = [each for each in fields if _present(each, self._version) and "tag" not in each]
        found = {each["name"]: self._value(each) for each in present}
        if self._flexible:
            self.skip_tagged()
        return found

    def skip_tagged(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            self._take(self._varint())

    def _value(self, field: Values) -> Any:
        kind = field["type"]
        if kind.startswith("[]"):
            length = self._length(">i")
            return None if length is None else [self._item(kind[2:], field) for _ in range(length)]
        if "nullableVersions" in field and _is_struct(kind) and self._number(">b") < 0:
            return None
        return self._item(kind, field)

    def _item(self, kind: str, field: Values) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == "uuid":
            return UUID(bytes=self._take(16))
        if _is_struct(kind):
            return self.fields(field.get("fields") or self._structs[kind])
        length = self._length(">h" if kind == "string" else ">i")
        raw = None if length is None else self._take(length)
        return raw.decode() if raw is not None and kind == "string" else raw

    def _length(self, plain: str) -> int | None:
        length = self._varint() - 1 if self._flexible else self._number(plain)
        return None if length < 0 else length

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _varint(self) -> int:
        result, shift = 0, 0
        while True:
            (byte,) = self._take(1)
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        assert len(taken) == size, "the answer is shorter than its definition"
        self._at += size
        return taken


def _is_struct(kind: str) -> bool:
    return kind[0].isupper()


def _present(field: Values, version: int) -> bool:
    oldest, newest = _range(field["versions"])
    return oldest <= version <= newest


def _range(versions: str) -> tuple[int, int]:
    if versions == "none":
        return 1 << 15, 1 << 15
    oldest, _, newest = versions.partition("-")
    return (int(oldest[:-1]), 1 << 15) if oldest.endswith("+") else (int(oldest), int(newest or oldest))


def _default(field: Values) -> Any:
    default, kind = field.get("default"), field["type"]
    if default == "null":
        return None
    if kind.startswith("[]"):
        return []
    if kind == "uuid":
        return UUID(int=0)
    if kind in ("string", "bytes", "records"):
        return default or ("" if kind == "string" else b"")
    if _is_struct(kind):
        return {}
    if kind == "bool":
        return str(default).lower() == "true"
    return int(str(default or 0), 0)
