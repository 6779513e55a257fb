"""电子证照标识: the identifier of an electronic licence (GB/T 36904-2018).

    1.2.156.3005.2.<licence type, 21>.<issuer, up to 18>.<serial>.<version, 3 digits from 001>.<check>

The standard's check character is ISO/IEC 7064 MOD 37,36 over the four parts without their dots. Identifiers are in
use whose issuer computes it otherwise; they are right too, and `variant` says which of the two an identifier follows.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

ROOT: Final = "1.2.156.3005.2"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FORM = re.compile(rf"{re.escape(ROOT)}\.([0-9A-Z]{{21}}\.[0-9A-Z]{{1,18}}\.[0-9A-Z]+\.[0-9]{{3}})\.([0-9A-Z])")


class Variant(StrEnum):
    """How the check character was computed."""

    STANDARD = "MOD 37,36"
    DEPLOYED = "deployed"


def fault(text: str) -> str | None:
    """What is wrong with a licence identifier; None if it is right by either variant.

    The answer never holds the identifier.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        return (
            f"must be {ROOT}, type (21), issuer (up to 18), serial, version (3 digits), check; capitals, dots between"
        )
    if form[1].endswith("000"):
        return "version is 000, the first is 001"
    body = form[1].replace(".", "")
    if form[2] == (standard := _standard_check(body)) or form[2] == (deployed := _deployed_check(body)):
        return None
    return f"check character is {form[2]}, must be {standard} (or {deployed} as some issuers compute it)"


def variant(text: str) -> Variant | None:
    """The variant that an identifier follows, the standard's if both agree; None if it has a fault."""
    if fault(text) is not None:
        return None
    body, check = "".join(text.split(".")[5:-1]), text[-1]
    return Variant.STANDARD if check == _standard_check(body) else Variant.DEPLOYED


def make(licence_type: str, issuer: str, serial: str, version: int = 1) -> str:
    """The identifier of a licence with the standard's check character; version from 1 to 999."""
    parts = (licence_type, issuer, serial, f"{version:03}")
    return ".".join((ROOT, *parts, _standard_check("".join(parts))))


def _standard_check(body: str) -> str:
    product = 36
    for character in body:
        product = 2 * ((product + int(character, 36)) % 36 or 36) % 37
    return _ALPHABET[(1 - product) % 36]


def _deployed_check(body: str) -> str:
    """Letters count one more, and the result is shifted; recomputed from identifiers that were published."""
    product = 36
    for character in body:
        value = int(character, 36)
        value += value >= 10
        total = product + value
        if value > 10 and total > 37:
            total %= 37
        product = 2 * (total % 36 or 36) % 37
    return _ALPHABET[36 - product]
