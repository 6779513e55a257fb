"""公民身份号码: the identity number of a citizen (GB 11643-1999).

Six digits of division, eight of birth date, three of sequence (odd: male, even: female), one check character
by ISO 7064 MOD 11-2. A division that no table knows is no fault: numbers outlive the divisions they name.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

EARLIEST_BIRTH: Final = date(1850, 1, 1)

_FORM = re.compile(r"[0-9]{17}[0-9X]")
_CHECKS = "10X98765432"


def fault(text: str, today: date | None = None) -> str | None:
    """What is wrong with an identity number; None if it is right.

    With `today`, a birth date after it is a fault too. The answer never holds the number.
    """
    if len(text) != 18:
        return f"{len(text)} characters, must be 18"
    if not _FORM.fullmatch(text):
        return "must be 17 digits and a digit or capital X"
    try:
        birth = birth_date(text)
    except ValueError:
        return "characters 7 to 14 are no date"
    if birth < EARLIEST_BIRTH:
        return f"birth date is before {EARLIEST_BIRTH.year}"
    if today is not None and birth > today:
        return "birth date is in the future"
    check = _check(text)
    return None if text[17] == check else f"check digit is {text[17]}, must be {check}"


def birth_date(text: str) -> date:
    """The birth date that a number of the right form says; ValueError if it is no date."""
    return date(int(text[6:10]), int(text[10:12]), int(text[12:14]))


def make(division: str, birth: date, sequence: int) -> str:
    """The number of a division (6 digits), a birth date and a sequence (0 to 999), with its check digit."""
    body = f"{division}{birth.isoformat().replace('-', '')}{sequence:03}"
    return body + _check(body)


def _check(text: str) -> str:
    # The weights are the powers of 2 modulo 11, and so are those of 13: the digits are read as a number of that base.
    return _CHECKS[2 * int(text[:17], 13) % 11]
