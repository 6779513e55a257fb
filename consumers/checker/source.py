"""What a provider wrote: is it a record that can be trusted, and what does it say?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from bianhe.consumers.checker.log import Entry
from bianhe.consumers.checker.projection import NotOfItsSchema, Shape
from bianhe.consumers.checker.timeline import Document

BYTES_MAX: Final = 1_000_000
_KEY: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_IDENTITY: Final = re.compile(r"[0-9]{17}[0-9Xx]")
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class Source:
    """The contracts of one source topic: schema id to the version that brought it, and its fields."""

    def __init__(self, contracts: Mapping[int, tuple[int, Document]]) -> None:
        self._shapes = {number: (at, Shape(list(document["fields"]))) for number, (at, document) in contracts.items()}

    def read(self, entry: Entry, version: int) -> dict[str, Any] | None:
        """The fields of a record, None for a removal; raises NotOfItsSchema where it must be quarantined."""
        if not is_key(entry.key):
            raise NotOfItsSchema("the key is none, of a wrong form, or somebody's")
        if is_identity_number(entry.key, datetime.fromtimestamp(entry.millis / 1000, UTC).date()):
            raise NotOfItsSchema("the key is an identity number")
        if entry.value is None:
            return None
        if len(entry.value) > BYTES_MAX:
            raise NotOfItsSchema("it is too large")
        if len(entry.value) < 5 or entry.value[0]:
            raise NotOfItsSchema("it has no schema id")
        known = self._shapes.get(int.from_bytes(entry.value[1:5], "big"))
        if known is None or known[0] > version:
            raise NotOfItsSchema("its schema id is not known under this version")
        return known[1].read(entry.value[5:])


def is_key(key: bytes | None) -> bool:
    return key is not None and _KEY.fullmatch(key) is not None


def is_identity_number(key: bytes | None, today: date) -> bool:
    """Whether a key would be a citizen's identity number (GB 11643: date of birth and check digit right)."""
    text = (key or b"").decode("latin-1").upper()
    if not _IDENTITY.fullmatch(text):
        return False
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    remainder = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True)) % 11
    return date(1850, 1, 1) <= born <= today and "10X98765432"[remainder] == text[17]
