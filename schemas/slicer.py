"""The slicer: one walk over a source record, one slice for each distinct view, without decoding.

A contract and its views compile to one Python function. The walk (schemas/walk.py) refuses what is malformed and notes
where fields begin; each view is then a concatenation of byte ranges and of what its masks put in their place. An item
that a view does not name is never copied (law 2). Field names never become source text.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final, cast

import fastavro.schema

from bianhe.schemas import contract_rules, wire
from bianhe.schemas.contract import EVENT_NAMES, Contract, InvalidContract, Item
from bianhe.schemas.grant import Condition, Mask, MaskKind, Operator
from bianhe.schemas.view import View, constant
from bianhe.schemas.walk import STEPS, Source, Walk, number

_NULL: Final = b"\0"
_PRESENT: Final = b"\2"
_ABSENT: Final = -1
_EPOCH: Final = date(1970, 1, 1).toordinal()

_FEW_PIECES: Final = 6

PSEUDONYM_CHARACTERS: Final = 32


class Slicer:
    """Cuts records of one contract for any number of views at once.

    A view may be of a later revision of the same version: the items that it added are null in an earlier record.
    Takes each view with the secret of its pseudonyms (None where it has none). Raises InvalidContract if the contract
    breaks the contract rules, ValueError if a pseudonym has no secret. Immutable; may be shared by threads.
    """

    def __init__(self, contract: Contract, views: Sequence[tuple[View, bytes | None]]) -> None:
        if faults := contract_rules.faults(contract.schema):
            raise InvalidContract(str(faults[0]), cause="; ".join(map(str, faults[1:])))
        self._slice = _compile(contract, views)

    def slice(self, body: bytes) -> list[bytes | None]:
        """Return, per view in the order given, the items of its delivery record from `event_id` on (no `bus_*`).

        None where the view's row rule does not hold. Raises Malformed if the body is not exactly one record in the
        canonical encoding of the contract, whichever fields the views keep. Takes time and memory in proportion to the
        body; how long a body may be is for the caller to say.
        """
        return self._slice(body)


def _compile(contract: Contract, views: Sequence[tuple[View, bytes | None]]) -> Callable[[bytes], list[bytes | None]]:
    steps = Source()
    tail = _Tail(contract, steps)
    slices = [tail.slice(view, secret) for view, secret in views]
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

    def __init__(self, contract: Contract, source: Source) -> None:
        self._contract = contract
        self._source = source
        self._index = {name: i for i, name in enumerate((*EVENT_NAMES, *contract.by_name))}
        self.starts: set[int] = set()
        self.contents: set[int] = set()

    def slice(self, view: View, secret: bytes | None) -> str:
        """The expression of a view's slice."""
        pieces = self._pieces(view, secret)
        kept = " + ".join(pieces) if len(pieces) <= _FEW_PIECES else f"b''.join(({', '.join(pieces)}))"
        rule = " and ".join(self._condition(condition) for condition in view.row_rule)
        return f"({kept}) if {rule} else None" if rule else kept

    def _pieces(self, view: View, secret: bytes | None) -> list[str]:
        """Byte ranges of neighbours kept, and masks, in contract order."""
        pieces: list[str] = []
        begin = end = 0
        for name in (*EVENT_NAMES, *view.items):
            index = self._index.get(name, _ABSENT)
            mask = view.masks.get(name)
            if mask is None and index == end:
                end += 1
                continue
            if begin < end:
                pieces.append(self._range(begin, end))
            if index == _ABSENT:
                begin = end = _ABSENT - 1
                pieces.append(self._absent(mask))
                continue
            begin, end = index, index + (mask is None)
            if mask is not None:
                pieces.append(self._masked(self._contract.by_name[name], mask, secret))
        if begin < end:
            pieces.append(self._range(begin, end))
        return pieces

    def _absent(self, mask: Mask | None) -> str:
        """What stands for an item that a later revision of the contract added: null, or the constant in its place."""
        if mask is not None and mask.kind is MaskKind.CONSTANT:
            return self._source.constant(wire.text(mask.argument.encode()))
        return self._source.constant(_NULL)

    def _range(self, begin: int, end: int) -> str:
        return f"b[{self._start(begin)}:{self._start(end)}]"

    def _start(self, index: int) -> str:
        self.starts.add(index)
        return f"o{index}"

    def _content(self, index: int) -> str:
        self.contents.add(index)
        return f"c{index}"

    def _masked(self, item: Item, mask: Mask, secret: bytes | None) -> str:
        index = self._index[item.name]
        if mask.kind is MaskKind.NULL:
            return self._source.constant(_NULL)
        if mask.kind is MaskKind.CONSTANT:
            return self._source.constant(wire.text(mask.argument.encode()))
        if mask.kind is MaskKind.YEAR:
            start = self._start(index)
            masked = f"year(b, {start}{' + 1' if item.nullable else ''})"
        else:
            content = f"b[{self._content(index)}:{self._start(index + 1)}]"
            if mask.kind is MaskKind.FIRST:
                masked = f"first({content}, {int(mask.argument)})"
            elif secret:
                masked = f"pseudonym({self._source.constant(secret)}, {content})"
            else:
                raise ValueError(f"the pseudonym of {item.name} has no secret")
        if not item.nullable:
            return masked
        present, null = self._source.constant(_PRESENT), self._source.constant(_NULL)
        return f"({present} + {masked} if b[{self._start(index)}] else {null})"

    def _condition(self, condition: Condition) -> str:
        item = self._contract.by_name.get(condition.item)
        if item is None:
            return "False"
        index = self._index[item.name]
        if condition.operator is Operator.PREFIX:
            prefix = self._source.constant(condition.values[0].encode())
            found = f"b.startswith({prefix}, {self._content(index)}, {self._start(index + 1)})"
            return f"b[{self._start(index)}] and {found}" if item.nullable else found
        # shortest forms only, so equal values are equal bytes; a null begins with 0 and equals none of them
        values = frozenset((_PRESENT if item.nullable else b"") + _encoded(item, text) for text in condition.values)
        field = self._range(index, index + 1)
        if len(values) == 1:
            return f"{field} == {self._source.constant(*values)}"
        return f"{field} in {self._source.constant(values)}"


def _encoded(item: Item, text: str) -> bytes:
    """The constant of a condition as Avro writes a value of its item."""
    value = constant(item, text)
    if item.kind == "enum":
        return wire.long(item.value_type["symbols"].index(value))
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    return wire.text(value.encode()) if isinstance(value, str) else wire.long(value)


def _first(content: bytes, characters: int) -> bytes:
    """The mask `first`: at most so many code points, as Avro writes them."""
    return wire.text(content.decode()[:characters].encode())


def _pseudonym(secret: bytes, content: bytes) -> bytes:
    """The mask `pseudonym`: 32 hex digits of HMAC-SHA-256 over the UTF-8 text, as Avro writes them."""
    return wire.text(hmac.digest(secret, content, "sha256").hex()[:PSEUDONYM_CHARACTERS].encode())


def _year(b: bytes, p: int) -> bytes:
    """The mask `year`: the year of the date at p, as Avro writes it."""
    return wire.long(date.fromordinal(_EPOCH + number(b, p)[0]).year)


_MASKS: Final[Mapping[str, object]] = {"first": _first, "pseudonym": _pseudonym, "year": _year}
"""What the text of a slice calls."""
