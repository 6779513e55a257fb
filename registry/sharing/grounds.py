"""The grounds on which a grant may end, stand still or give way to another: data, in `grounds.csv`. Without one nothing
is stopped."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bianhe.schemas.errors import Rejected


class UnknownGround(Rejected):
    """A revocation or suspension without a ground that the law knows."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A ground for ending or suspending a grant, with the article that it rests on."""

    code: str
    title: str
    basis: str
    use: str

    def __str__(self) -> str:
        return f"{self.code} {self.title}"


def ground(code: str, use: str = "end") -> Ground:
    """The ground of this code for this use; raises UnknownGround."""
    known = _grounds().get(code)
    if known is None or known.use != use:
        raise UnknownGround(
            f"{code!r} is no ground to {use} a grant" if code else f"to {use} a grant takes a ground",
            cause="a running share may not be stopped without reason (809 article 27)",
            cure=f"one of {codes(use)}",
        )
    return known


def codes(use: str = "end") -> str:
    """The codes of the grounds for this use, as a sentence lists them."""
    return ", ".join(each.code for each in _grounds().values() if each.use == use)


@cache
def _grounds() -> Mapping[str, Ground]:
    text = (resources.files("bianhe.registry.sharing") / "grounds.csv").read_text(encoding="utf-8")
    return {row["code"]: Ground(**row) for row in csv.DictReader(text.splitlines())}
