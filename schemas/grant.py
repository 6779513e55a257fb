"""A grant: what a decision gives to one department, and nothing else does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints

from bianhe.schemas.errors import Fault, Rejected
from bianhe.schemas.lanes import NO_TERM

CITY_TIME: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
TERM_MAX: Final = date(9998, 12, 31)
"""The latest last day that is granted: the calendar has no day after 9999."""
CONSTANT_CHARACTERS_MAX: Final = 500

ItemName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class InvalidGrant(Rejected):
    """Something was asked or decided that no grant can carry."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Canonical(Frozen):
    """What is hashed: its JSON is canonical (RFC 8785) as pydantic writes it, a tenth of the cost of sorting it again.

    Its fields are named in ASCII and hold no floats; a mapping among them sorts itself.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        schema: Any = handler(source)
        schema["schema"]["fields"] = dict(sorted(schema["schema"]["fields"].items()))
        return schema

    def encode(self) -> bytes:
        """Canonical JSON: the bytes that stand on the log and are hashed."""
        return self.model_dump_json().encode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        for made_of_it in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[made_of_it]
        return copied


class MaskKind(StrEnum):
    """What is done to an item (脱敏); each fixes the output type (law 5)."""

    NULL = "null"
    CONSTANT = "constant"
    FIRST = "first"
    PSEUDONYM = "pseudonym"
    YEAR = "year"


class Mask(Canonical):
    """One masked item; `argument` is the text of a constant or the number of code points kept by `first`."""

    item: ItemName
    kind: MaskKind
    argument: str = ""

    @classmethod
    def parse(cls, text: str) -> Mask:
        """Read `item=null|constant:<text>|first:<n>|pseudonym|year`; raises InvalidGrant."""
        item, _, rest = text.partition("=")
        kind, _, argument = rest.partition(":")
        if kind not in list(MaskKind) or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", item):
            raise InvalidGrant(
                f"{text!r} is no mask",
                cure="write item=null, item=constant:<text>, item=first:<n>, item=pseudonym or item=year",
            )
        mask = cls(item=item, kind=MaskKind(kind), argument=argument)
        if fault := mask.fault:
            raise InvalidGrant(str(fault), cure=fault.cure)
        return mask

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the argument; no rule of the type, so that a log that holds such a mask can be read."""
        match self.kind:
            case MaskKind.FIRST if not re.fullmatch(r"[1-9][0-9]{0,3}", self.argument):
                message, cure = "first keeps 1 to 9999 characters and says how many", f"write {self.item}=first:<n>"
            case MaskKind.CONSTANT if len(self.argument) > CONSTANT_CHARACTERS_MAX:
                message, cure = f"a constant has at most {CONSTANT_CHARACTERS_MAX} characters", "write a shorter one"
            case MaskKind.NULL | MaskKind.PSEUDONYM | MaskKind.YEAR if self.argument:
                message, cure = f"{self.kind} takes no argument", f"write {self.item}={self.kind}"
            case _:
                return None
        return Fault(self.item, "mask-argument", message, cure=cure)

    def __str__(self) -> str:
        return f"{self.item}={self.kind}" + (f":{self.argument}" if self.argument else "")


class Operator(StrEnum):
    EQUALS = "="
    IN = "in"
    PREFIX = "prefix"


class Condition(Canonical):
    """One condition of a row rule (行级条件): an item against constants written as text. Null matches nothing."""

    item: ItemName
    operator: Operator
    values: tuple[str, ...]

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the values; no rule of the type, as with a mask."""
        if not self.values or (self.operator is not Operator.IN and len(self.values) > 1):
            message = f"{self.operator} takes {'at least ' if self.operator is Operator.IN else ''}one value"
        elif not all(0 < len(value) <= CONSTANT_CHARACTERS_MAX for value in self.values):
            message = f"a value has 1 to {CONSTANT_CHARACTERS_MAX} characters"
        else:
            return None
        return Fault(self.item, "condition-values", message, cure="write item = value, or item in value,value")

    def __str__(self) -> str:
        return f"{self.item} {self.operator} {','.join(self.values)}"


_CONDITION = re.compile(
    r"\s*(?P<item>[a-z][a-z0-9_]{0,63})\s*(?P<operator>=|\bin\b|\bprefix\b)\s*(?P<values>[^\s].*?)\s*"
)


def parse_row_rule(text: str) -> tuple[Condition, ...]:
    """Read a conjunction such as `status in 1,2 and residence_division prefix 410212`; raises InvalidGrant."""
    conditions = []
    for part in re.split(r"\s+and(?:\s+|$)", text.strip()):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise InvalidGrant(
                f"{part!r} is no condition", cure="write item = value, item in value,value or item prefix value"
            )
        operator = Operator(match["operator"])
        values = match["values"].split(",") if operator is Operator.IN else [match["values"]]
        condition = Condition(item=match["item"], operator=operator, values=tuple(map(str.strip, values)))
        if fault := condition.fault:
            raise InvalidGrant(str(fault), cure=fault.cure)
        conditions.append(condition)
    return tuple(conditions)


class Grant(Canonical):
    """What one decision gives (授权): items, masks, row rule, purpose, term.

    `until` is the last day of the term in the city's time; the term ends with that day.
    """

    number: Annotated[str, StringConstraints(pattern=r"^G-\d{4}-\d{4,}$")]
    department: str
    resource: str
    version: int
    items: tuple[ItemName, ...]
    masks: tuple[Mask, ...] = ()
    row_rule: tuple[Condition, ...] = ()
    purpose: Text
    basis: Text
    scenario: Text
    scope: Text
    until: date

    @property
    def until_millis(self) -> int:
        """The first instant after the term, in milliseconds since 1970 UTC; NO_TERM where no day follows."""
        # Refused since, but the log may hold one.
        if self.until == date.max:
            return NO_TERM
        end = datetime.combine(self.until + timedelta(days=1), time.min, CITY_TIME)
        return int(end.timestamp()) * 1000

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (RFC 8785), in hex; the policy record, registry row and letter carry it."""
        return hashlib.sha256(self.encode()).hexdigest()
