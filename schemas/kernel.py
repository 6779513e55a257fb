"""The tables of the kernel: a contract as steps over bytes, splices as pieces and tests, for `_slicer.Program` to run.

Imports only where the kernel was built. What each step does, and refuses, is what schemas/walk.py says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import fastavro.schema

from bianhe.schemas import _slicer
from bianhe.schemas.contract import Contract
from bianhe.schemas.grant import MaskKind
from bianhe.schemas.splice import Among, Kept, Literal, Masked, Piece, Splice, Test
from bianhe.schemas.walk import ONE_BYTE_SYMBOLS, RANGES

_LOW_HALF: Final = 64
_ONE_BYTE_NUMBERS: Final = ("int", "long", "time-millis")
"""Numbers that are often so small that a run of text goes on over them."""


def program(contract: Contract, splices: Sequence[Splice]) -> _slicer.Program:
    """The program that cuts a body into a slice for each splice; the contract keeps the contract rules."""
    schema = cast(dict[str, Any], fastavro.schema.expand_schema(cast(Any, contract.schema)))
    fields = len(schema["fields"])
    steps = _Steps(nowhere=2 * fields + 1)
    for index, field in enumerate(schema["fields"]):
        steps.value(field["type"], start=index, content=fields + 1 + index)
    views = [
        ([_test(test, fields) for test in each.tests], [_piece(piece, fields) for piece in each.pieces])
        for each in splices
    ]
    return _slicer.Program(steps.steps, views, fields)


class _Steps:
    """Steps under construction: (operation, size, low, high, next step, where to note its start and its content).

    Position i is where field i begins, fields + 1 + i where its string's content begins; `nowhere` is for all others.
    """

    def __init__(self, nowhere: int) -> None:
        self.steps: list[_slicer.Step] = []
        self._nowhere = nowhere

    def value(self, shape: Any, start: int | None = None, content: int | None = None) -> None:
        """Add the steps over one value: Avro types as parsed JSON with every named type written out."""
        start = self._nowhere if start is None else start
        content = self._nowhere if content is None else content
        if isinstance(shape, list):
            self._around("nullable", start, lambda: self.value(shape[1], content=content))
            return
        kind, logical = (shape, None) if isinstance(shape, str) else (shape["type"], shape.get("logicalType"))
        match logical or kind:
            case "int" | "long" | "date" | "time-millis" | "timestamp-millis" | "timestamp-micros" as number:
                low, high = RANGES[number]
                self._add("small" if number in _ONE_BYTE_NUMBERS else "number", start, low=low, high=high)
            case "null" | "boolean" | "uuid" | "string" | "bytes" as plain:
                self._add(plain, start, content=content)
            case "decimal":
                bound = 10 ** shape["precision"] - 1
                size = shape["size"] if kind == "fixed" else bound.bit_length() // 8 + 1
                low, high = bound & (1 << _LOW_HALF) - 1, bound >> _LOW_HALF
                self._add("fixed decimal" if kind == "fixed" else "decimal", start, size=size, low=low, high=high)
            case "enum":
                symbols = len(shape["symbols"])
                self._add("enum" if symbols <= ONE_BYTE_SYMBOLS else "wide enum", start, size=symbols)
            case "float" | "double" | "fixed":
                self._add("fixed", start, size=shape["size"] if kind == "fixed" else 4 if kind == "float" else 8)
            case "record":
                self._add("null", start)
                for field in shape["fields"]:
                    self.value(field["type"])
            case "array":
                self._around("array", start, lambda: self.value(shape["items"]))
            case "map":
                self._around("map", start, lambda: self.value(shape["values"]))
            case other:
                raise ValueError(f"no Avro type: {other!r}")

    def _add(
        self, operation: str, start: int, *, size: int = 0, low: int = 0, high: int = 0, content: int | None = None
    ) -> None:
        content = self._nowhere if content is None else content
        self.steps.append((operation, size, low, high, len(self.steps) + 1, start, content))

    def _around(self, operation: str, start: int, inner: Callable[[], None]) -> None:
        """A step that knows where the steps within it end."""
        at = len(self.steps)
        self._add(operation, start)
        inner()
        self.steps[at] = (operation, 0, 0, 0, len(self.steps), start, self._nowhere)


def _piece(piece: Piece, fields: int) -> _slicer.Piece:
    """(what, begin, end, content, nullable, characters, bytes); the first three are positions."""
    if isinstance(piece, Kept):
        return ("kept", piece.begin, piece.end, 0, False, 0, b"")
    if isinstance(piece, Literal):
        return ("literal", 0, 0, 0, False, 0, piece.content)
    return _masked(piece, fields + 1 + piece.number)


def _masked(piece: Masked, content: int) -> _slicer.Piece:
    kind = {MaskKind.FIRST: "first", MaskKind.YEAR: "year", MaskKind.PSEUDONYM: "pseudonym"}[piece.kind]
    return (kind, piece.number, piece.number + 1, content, piece.nullable, piece.characters, piece.secret)


def _test(test: Test, fields: int) -> _slicer.Test:
    """(what, begin, end, content, nullable, values); `begins` has one value."""
    if isinstance(test, Among):
        return ("is" if len(test.values) == 1 else "among", test.number, test.number + 1, 0, False, test.values)
    return ("begins", test.number, test.number + 1, fields + 1 + test.number, test.nullable, frozenset({test.prefix}))
