"""The slicer in generated Python: a contract and its splices become one function. Serves where no compiler was, and the
tests as the kernel's oracle. Field names never become source text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final, cast

import fastavro.schema

from bianhe.schemas import wire
from bianhe.schemas.contract import Contract
from bianhe.schemas.grant import MaskKind
from bianhe.schemas.splice import NULL, PRESENT, Among, Kept, Literal, Masked, Piece, Splice, Test, pseudonym
from bianhe.schemas.walk import STEPS, Source, Walk, number

_EPOCH: Final = date(1970, 1, 1).toordinal()
_FEW_PIECES: Final = 6


def slice_function(contract: Contract, splices: Sequence[Splice]) -> Callable[[bytes], list[bytes | None]]:
    """Return the function that cuts a body into a slice for each splice; the contract keeps the contract rules."""
    steps = Source()
    tail = _Tail(steps)
    slices = [tail.slice(each) for each in splices]
    functions = Source()
    schema = cast(dict[str, Any], fastavro.schema.expand_schema(cast(Any, contract.schema)))
    with steps.block("def slice(b):"):
        steps.add("p = s = 0", "reason = Reason.TRUNCATED")
        with steps.block("try:"):
            walk = Walk(functions, steps)
            for index, field in enumerate(schema["fields"]):
                if index in tail.starts:
                    steps.add(f"o{index} = p")
                walk.value(field["type"], f"c{index}" if index in tail.contents else "")
            steps.add(f"o{len(schema['fields'])} = p")
            with steps.block("if p > len(b):"):
                steps.add("raise IndexError")
            walk.check_text()
        with steps.block("except IndexError:"):
            steps.add("pass")
        with steps.block("except UnicodeDecodeError:"):
            steps.add("if p <= len(b): reason = Reason.TEXT")
        with steps.block("else:"):
            steps.add("if p == len(b):")
            steps.add("    return [" + ", ".join(slices) + "]")
            steps.add("reason = Reason.TRAILING")
        # outside the handlers, so that no traceback carries what was read
        steps.add("refuse(reason, p)")
    namespace: dict[str, Any] = {**STEPS, **_MASKS, **steps.constants}
    exec(compile(functions.text() + steps.text(), f"<slicer of {contract.resource}>", "exec"), namespace)
    return cast(Callable[[bytes], "list[bytes | None]"], namespace["slice"])


class _Tail:
    """Expressions over the noted positions: `o<i>` where field i begins, `c<i>` where its string's content begins."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.starts: set[int] = set()
        self.contents: set[int] = set()

    def slice(self, splice: Splice) -> str:
        """The expression of a slice."""
        pieces = [self._piece(piece) for piece in splice.pieces]
        kept = " + ".join(pieces) if len(pieces) <= _FEW_PIECES else f"b''.join(({', '.join(pieces)}))"
        rule = " and ".join(self._test(test) for test in splice.tests)
        return f"({kept}) if {rule} else None" if rule else kept

    def _piece(self, piece: Piece) -> str:
        if isinstance(piece, Kept):
            return self._range(piece.begin, piece.end)
        return self._source.constant(piece.content) if isinstance(piece, Literal) else self._masked(piece)

    def _range(self, begin: int, end: int) -> str:
        return f"b[{self._start(begin)}:{self._start(end)}]"

    def _start(self, index: int) -> str:
        self.starts.add(index)
        return f"o{index}"

    def _content(self, index: int) -> str:
        self.contents.add(index)
        return f"c{index}"

    def _masked(self, piece: Masked) -> str:
        if piece.kind is MaskKind.YEAR:
            masked = f"year(b, {self._start(piece.number)}{' + 1' if piece.nullable else ''})"
        else:
            content = f"b[{self._content(piece.number)}:{self._start(piece.number + 1)}]"
            if piece.kind is MaskKind.FIRST:
                masked = f"first({content}, {piece.characters})"
            else:
                masked = f"pseudonym({self._source.constant(piece.secret)}, {content})"
        if not piece.nullable:
            return masked
        present, null = self._source.constant(PRESENT), self._source.constant(NULL)
        return f"({present} + {masked} if b[{self._start(piece.number)}] else {null})"

    def _test(self, test: Test) -> str:
        if isinstance(test, Among):
            value = self._range(test.number, test.number + 1)
            if len(test.values) == 1:
                return f"{value} == {self._source.constant(*test.values)}"
            return f"{value} in {self._source.constant(test.values)}"
        prefix = self._source.constant(test.prefix)
        found = f"b.startswith({prefix}, {self._content(test.number)}, {self._start(test.number + 1)})"
        return f"b[{self._start(test.number)}] and {found}" if test.nullable else found


def _first(content: bytes, characters: int) -> bytes:
    """The mask `first`: at most so many code points, as Avro writes them."""
    return wire.text(content.decode()[:characters].encode())


def _year(b: bytes, p: int) -> bytes:
    """The mask `year`: the year of the date at p, as Avro writes it."""
    return wire.long(date.fromordinal(_EPOCH + number(b, p)[0]).year)


_MASKS: Final[Mapping[str, object]] = {"first": _first, "pseudonym": pseudonym, "year": _year}
"""What the text of a slice calls."""
