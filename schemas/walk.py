"""The walk over one Avro record: source text that finds where each field begins and refuses whatever is malformed.

The text is straight-line for flat fields and is compiled once per contract (schemas/slicer.py). In it `b` is the body,
`p` the byte it stands at. Bounds are checked late: stepping past the end is harmless, since the next look raises
IndexError and the walk must end exactly at the end.

Strings are checked for UTF-8 in runs: `s` is where the unchecked run begins. A run may go over what stands between two
strings as long as that is ASCII (a one-byte length, a union index), for no character goes on beyond an ASCII byte;
before anything else the run is checked and a new one begins after it. This makes five checks of twenty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, Final, NoReturn

from bianhe.schemas.wire import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, Malformed, Reason

_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY_MIN: Final = date.min.toordinal() - _EPOCH
_DAY_MAX: Final = date.max.toordinal() - _EPOCH
_DAY_MILLIS: Final = 24 * 60 * 60 * 1000

RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "int": (INT_MIN, INT_MAX),
    "long": (LONG_MIN, LONG_MAX),
    "date": (_DAY_MIN, _DAY_MAX),
    "time-millis": (0, _DAY_MILLIS - 1),
    "timestamp-millis": (_DAY_MIN * _DAY_MILLIS, (_DAY_MAX + 1) * _DAY_MILLIS - 1),
    "timestamp-micros": (_DAY_MIN * _DAY_MILLIS * 1000, (_DAY_MAX + 1) * _DAY_MILLIS * 1000 - 1),
}
"""Smallest and largest value of each number type; dates and times within the years 1 to 9999."""

_USUAL_BYTES: Final = {"date": 3, "timestamp-millis": 6, "timestamp-micros": 8}
_UUID: Final = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
ONE_BYTE_SYMBOLS: Final = 64


class Source:
    """Source text under construction, and the constants it names (never values in the text itself)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, object] = {}
        self._names: dict[object, str] = {}
        self._indent = 0

    def add(self, *lines: str) -> None:
        self.lines.extend("    " * self._indent + line for line in lines)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.add(head)
        self._indent += 1
        yield
        self._indent -= 1

    def constant(self, value: object) -> str:
        """The name under which the text finds this hashable value."""
        name = self._names.setdefault(value, f"K{len(self._names)}")
        self.constants[name] = value
        return name

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


class Walk:
    """Adds to a source the steps over one value after another; `unchecked` says that a run of text may be pending."""

    def __init__(self, functions: Source, steps: Source) -> None:
        self._functions = functions
        self._steps = steps
        self.unchecked = False

    def check_text(self) -> None:
        """Check the pending run; `s` must be set anew before the next string."""
        if self.unchecked:
            self._steps.add("b[s:p].decode()")
        self.unchecked = False

    def value(self, shape: Any, content: str = "") -> None:
        """Step over one value; `content` names the variable that learns where a string's content begins.

        Avro types as parsed JSON with every named type written out, without faults against the contract rules.
        """
        if isinstance(shape, list):
            self._nullable(shape[1], content)
            return
        kind, logical = (shape, None) if isinstance(shape, str) else (shape["type"], shape.get("logicalType"))
        match logical or kind:
            case "null":
                pass
            case "boolean":
                self._steps.add(f"if b[p] > 1: {_refuse(Reason.BOOLEAN)}", "p += 1")
            case "int" | "long" | "date" | "time-millis" | "timestamp-millis" | "timestamp-micros" as number:
                self._number(number)
            case "uuid":
                self._steps.add("p = uuid_end(b, p)")
            case "string":
                self._string(content)
            case "decimal":
                self._decimal(shape)
            case "enum":
                self._enum(len(shape["symbols"]))
            case "float" | "double" | "fixed":
                self._opaque(f"p += {shape['size'] if kind == 'fixed' else 4 if kind == 'float' else 8}")
            case "bytes":
                self._opaque("x = b[p]", "p = content(b, p)[1] if x & 129 else p + 1 + (x >> 1)")
            case "record":
                for field in shape["fields"]:
                    self.value(field["type"])
            case "array":
                self._opaque(f"p = {self._blocks(shape['items'], keyed=False)}(b, p)")
            case "map":
                self._opaque(f"p = {self._blocks(shape['values'], keyed=True)}(b, p)")
            case other:
                raise ValueError(f"no Avro type: {other!r}")

    def _nullable(self, shape: Any, content: str) -> None:
        before = self.unchecked
        with self._steps.block("if b[p] == 2:"):
            self._steps.add("p += 1")
            self.value(shape, content)
        with self._steps.block("elif b[p]:"):
            self._steps.add(_refuse(Reason.UNION))
        with self._steps.block("else:"):
            self._steps.add("p += 1")
        self.unchecked |= before

    def _opaque(self, *steps: str) -> None:
        """Steps over bytes that are neither text nor ASCII: the run of text ends before them and begins after them."""
        self.check_text()
        self._steps.add(*steps, "s = p")

    def _number(self, kind: str) -> None:
        low, high = RANGES[kind]
        if usual := _USUAL_BYTES.get(kind):
            # a shortest form of the usual number of bytes is in range whatever its value if its last byte is this small
            limit = min(128, 2 * min(high, -low) >> 7 * (usual - 1))
            head = " and ".join(f"b[p + {i}] > 127" for i in range(usual - 1))
            self._opaque(
                f"p = p + {usual} if {head} and 0 < b[p + {usual - 1}] < {limit} else number_end(b, p, {low}, {high})"
            )
            return
        before = self.unchecked
        with self._steps.block(f"if b[p] > 127{' or b[p] & 1' if low == 0 else ''}:"):
            self._opaque(f"p = number_end(b, p, {low}, {high})")
        with self._steps.block("else:"):
            self._steps.add("p += 1")
        self.unchecked = before

    def _string(self, content: str) -> None:
        self._steps.add("x = b[p]")
        with self._steps.block("if x & 129:"):
            self.check_text()
            self._steps.add("s, p = content(b, p)")
            if content:
                self._steps.add(f"{content} = s")
        with self._steps.block("else:"):
            self._steps.add(*([f"{content} = p + 1"] if content else []), "p += 1 + (x >> 1)")
        self.unchecked = True

    def _enum(self, symbols: int) -> None:
        if symbols > ONE_BYTE_SYMBOLS:
            self._opaque(f"p = enum_end(b, p, {symbols})")
        else:
            self._steps.add("x = b[p]", f"if x & 1 or x >= {2 * symbols}: {_refuse(Reason.ENUM)}", "p += 1")

    def _decimal(self, shape: Any) -> None:
        bound = 10 ** shape["precision"] - 1
        if shape["type"] == "fixed":
            self._opaque(f"p = fixed_decimal_end(b, p, {shape['size']}, {bound})")
        else:
            self._opaque(f"p = decimal_end(b, p, {bound.bit_length() // 8 + 1}, {bound})")

    def _blocks(self, items: Any, *, keyed: bool) -> str:
        """Define a function that steps over an array or map; return its name."""
        steps = Source()
        inner = Walk(self._functions, steps)
        with steps.block("for _ in range(count):"):
            steps.add("s = p")
            if keyed:
                inner.value("string", "k")
                steps.add("key = b[k:p]", f"if key in keys: {_refuse(Reason.KEY)}", "keys.add(key)")
            inner.value(items)
            inner.check_text()
        name = f"blocks{sum(line.startswith('def ') for line in self._functions.lines)}"
        with self._functions.block(f"def {name}(b, p):"):
            self._functions.add("count, p = block_count(b, p)", "if not count: return p")
            self._functions.add(*(["keys = set()"] if keyed else []), *steps.lines)
            self._functions.add(f"if b[p]: {_refuse(Reason.BLOCK)}", "return p + 1")
        return name


def _refuse(reason: Reason) -> str:
    return f"refuse(Reason.{reason.name}, p)"


def refuse(reason: Reason, at: int) -> NoReturn:
    raise Malformed(reason, at)


def number(b: bytes, p: int) -> tuple[int, int]:
    """The number at p, ten bytes at most in its shortest form, and the byte after it; may exceed 64 bits by some."""
    start = p
    value = shift = 0
    while (x := b[p]) > 127:
        value |= (x & 127) << shift
        shift += 7
        p += 1
        if shift > 63:
            raise Malformed(Reason.OVERLONG, start)
    if not x and shift:
        raise Malformed(Reason.OVERLONG, start)
    value |= x << shift
    return value >> 1 ^ -(value & 1), p + 1


def _number_end(b: bytes, p: int, low: int, high: int) -> int:
    value, end = number(b, p)
    if not low <= value <= high:
        raise Malformed(Reason.RANGE, p)
    return end


def _content(b: bytes, p: int) -> tuple[int, int]:
    """Where the content of a string or bytes value begins and ends."""
    length, start = number(b, p)
    if length < 0 or length > len(b):
        raise Malformed(Reason.LENGTH, p)
    return start, start + length


def _enum_end(b: bytes, p: int, symbols: int) -> int:
    index, end = number(b, p)
    if not 0 <= index < symbols:
        raise Malformed(Reason.ENUM, p)
    return end


def _uuid_end(b: bytes, p: int) -> int:
    if b[p] != 72 or not _UUID.fullmatch(b, p + 1, p + 37):
        raise Malformed(Reason.TRUNCATED if p + 37 > len(b) and b[p] == 72 else Reason.UUID, p)
    return p + 37


def _decimal_end(b: bytes, p: int, bytes_max: int, bound: int) -> int:
    start, end = _content(b, p)
    if not 0 < end - start <= bytes_max:
        raise Malformed(Reason.LENGTH, p)
    return _fixed_decimal_end(b, start, end - start, bound)


def _fixed_decimal_end(b: bytes, p: int, size: int, bound: int) -> int:
    if not -bound <= int.from_bytes(b[p : p + size], "big", signed=True) <= bound:
        raise Malformed(Reason.RANGE, p)
    return p + size


def _block_count(b: bytes, p: int) -> tuple[int, int]:
    """How many items the only block of an array or map has; every item takes at least a byte (contract_rules.py)."""
    count, start = number(b, p)
    if count < 0:
        raise Malformed(Reason.BLOCK, p)
    if count > len(b) - start:
        raise Malformed(Reason.COUNT, p)
    return count, start


STEPS: Final[Mapping[str, object]] = {
    "Reason": Reason,
    "refuse": refuse,
    "content": _content,
    "number_end": _number_end,
    "enum_end": _enum_end,
    "uuid_end": _uuid_end,
    "decimal_end": _decimal_end,
    "fixed_decimal_end": _fixed_decimal_end,
    "block_count": _block_count,
}
"""What the text of a walk calls."""
