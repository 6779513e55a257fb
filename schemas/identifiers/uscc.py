"""统一社会信用代码: the unified social credit code of an organisation (GB 32100-2015).

One character each for the registering department and the kind of organisation, six digits of division, the nine
characters of the organisation code with a check of their own (GB 11714), one check character over all.
The first two may be letters (A 军委编办, N 农业, Y 其他), and which of them exist is not this module's business.
"""

from __future__ import annotations

import re
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The characters of a code in the order of their values: no I, O, S, V, Z."""

_FORM = re.compile(rf"[{ALPHABET}]{{2}}[0-9]{{6}}[{ALPHABET}]{{10}}")
_DIGITS = bytes(ord("0123456789abcdefghijklmnopqrstuvwxyz"[max(ALPHABET.find(chr(code)), 0)]) for code in range(256))
"""The digit that has the value of each character of the alphabet, as a table to translate ASCII by."""
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
    # The weights are the powers of 2 modulo 11, and so are those of 35.
    return _BODY_CHECKS[11 - 2 * int(body, 35) % 11]


def _check(text: str) -> str:
    # The weights are the powers of 3 modulo 31 from the left, and so are those of 34.
    return ALPHABET[-int(text.encode()[16::-1].translate(_DIGITS), 34) % 31]
