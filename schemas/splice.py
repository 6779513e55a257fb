"""What a view does to a record: ranges of fields kept, what stands in the place of others, and conditions, as values.

Fields go by their number in the contract, `event_id` being 0. schemas/generated.py and schemas/kernel.py make it act.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bianhe.schemas import wire
from bianhe.schemas.contract import EVENT_NAMES, Contract, Item
from bianhe.schemas.grant import Condition, Mask, MaskKind, Operator
from bianhe.schemas.view import View, constant

NULL: Final = b"\0"
PRESENT: Final = b"\2"
PSEUDONYM_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """Fields `begin` up to and without `end`, as they stand in the record."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Literal:
    """The same bytes in every slice."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Masked:
    """One field, masked by `first` (so many characters), `pseudonym` (with the secret) or `year`; null stays null."""

    number: int
    nullable: bool
    kind: MaskKind
    characters: int = 0
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Among:
    """Holds if the bytes of a field are one of these."""

    number: int
    values: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Begins:
    """Holds if a field is a string that begins with these bytes."""

    number: int
    nullable: bool
    prefix: bytes


Piece = Kept | Literal | Masked
Test = Among | Begins


@dataclass(frozen=True, slots=True)
class Splice:
    """The pieces of a slice one after another; there is a slice only where all tests hold."""

    pieces: tuple[Piece, ...]
    tests: tuple[Test, ...]


def splice(contract: Contract, view: View, secret: bytes | None) -> Splice:
    """What a view does to records of this contract, which may be an earlier revision than the view's.

    Raises ValueError if a pseudonym has no secret.
    """
    numbers = {name: i for i, name in enumerate((*EVENT_NAMES, *contract.by_name))}
    pieces: list[Piece] = []
    for name in (*EVENT_NAMES, *view.items):
        number, mask = numbers.get(name), view.masks.get(name)
        if number is None or mask is not None:
            pieces.append(_instead(contract.by_name.get(name), number, mask, secret))
        elif pieces and isinstance(last := pieces[-1], Kept) and last.end == number:
            pieces[-1] = Kept(last.begin, number + 1)
        else:
            pieces.append(Kept(number, number + 1))
    return Splice(tuple(pieces), tuple(_test(contract, numbers, condition) for condition in view.row_rule))


def _instead(item: Item | None, number: int | None, mask: Mask | None, secret: bytes | None) -> Piece:
    """What stands for a masked item, or for one that a later revision of the contract added."""
    if mask is not None and mask.kind is MaskKind.CONSTANT:
        return Literal(wire.text(mask.argument.encode()))
    if item is None or number is None or mask is None or mask.kind is MaskKind.NULL:
        return Literal(NULL)
    if mask.kind is MaskKind.FIRST:
        return Masked(number, item.nullable, mask.kind, characters=int(mask.argument))
    if mask.kind is MaskKind.YEAR:
        return Masked(number, item.nullable, mask.kind)
    if not secret:
        raise ValueError(f"the pseudonym of {item.name} has no secret")
    return Masked(number, item.nullable, mask.kind, secret=secret)


def _test(contract: Contract, numbers: Mapping[str, int], condition: Condition) -> Test:
    item = contract.by_name.get(condition.item)
    if item is None:
        return Among(0, frozenset())
    number = numbers[item.name]
    if condition.operator is Operator.PREFIX:
        return Begins(number, item.nullable, condition.values[0].encode())
    # shortest forms only, so equal values are equal bytes; a null begins with 0 and equals none of them
    head = PRESENT if item.nullable else b""
    return Among(number, frozenset(head + _encoded(item, text) for text in condition.values))


def _encoded(item: Item, text: str) -> bytes:
    """The constant of a condition as Avro writes a value of its item."""
    value = constant(item, text)
    if item.kind == "enum":
        return wire.long(item.value_type["symbols"].index(value))
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    return wire.text(value.encode()) if isinstance(value, str) else wire.long(value)


def pseudonym(secret: bytes, content: bytes) -> bytes:
    """The mask `pseudonym`: 32 hex digits of HMAC-SHA-256 over the UTF-8 text, as Avro writes them."""
    return wire.text(hmac.digest(secret, content, "sha256").hex()[:PSEUDONYM_CHARACTERS].encode())
