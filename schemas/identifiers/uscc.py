"""统一社会信用代码: the unified social credit code of an organisation (GB 32100-2015).

One character each for the registering department and the kind of organisation, six digits of division, the nine
characters of the organisation code with a check of their own (GB 11714), one check character over all.
The first two may be letters (A 军委编办, N 农业, Y 其他), and which of them exist is not this module's business.
"""

from __future__ import annotations

import re
from operator import mul
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The characters of a code in the order of their values: no I, O, S, V, Z."""

_FORM = re.compile(rf"[{ALPHABET}]{{2}}[0-9]{{6}}[{ALPHABET}]{{10}}")
_VALUES = bytes(max(ALPHABET.find(chr(code)), 0) for code in range(256))
"""The value of each character of the alphabet, as a table to translate ASCII by."""
_WEIGHTS = tuple(pow(3, position, 31) for position in range(17))
_BODY_VALUES = bytes(int(chr(code), 36) if code < 128 and chr(code).isalnum() else 0 for code in range(256))
_BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_BODY_CHECKS = "0123456789X0"


def fault(text: str) -> str | None:
    """What is wrong with a credit code; None if it is right. The answer never holds the code."""
    if len(text) != 18:
        return f"{len(text)} characters, must be 18"
    if not _FORM.fullmatch(text):
        return "must be digits and capital letters without I, O, S, V, Z, the third to the eighth digits"
    if text[16] != (body_check := _body_check(text[8:16])):
        return f"check digit of the organisation code is {text[16]}, must be {body_check}"
    check = _check(text)
    return None if text[17] == check else f"check digit is {text[17]}, must be {check}"


def make(kind: str, division: str, body: str) -> str:
    """The code of a kind (2 characters), a division (6 digits) and a body (8), with both check digits."""
    unchecked = kind + division + body + _body_check(body)
    return unchecked + _check(unchecked)


def _body_check(body: str) -> str:
    total = sum(map(mul, _BODY_WEIGHTS, body.encode().translate(_BODY_VALUES)))
    return _BODY_CHECKS[11 - total % 11]


def _check(text: str) -> str:
    total = sum(map(mul, _WEIGHTS, text.encode().translate(_VALUES)))
    return ALPHABET[-total % 31]
