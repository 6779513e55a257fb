"""Canonical JSON read field by field, in one compiled pass: a record of the policy log in a fraction of the time.

An object is canonical where its fields stand in their order and each is canonical, so each is read by itself, by the
types and limits that its model gives it, and what was read once of a field is not read again. The reader answers only
where it is sure: pydantic reads the others whole, and says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from bianhe.schemas.grant import Canonical

try:
    from bianhe.schemas._canonical import Reader
except ImportError:  # installed where no compiler was
    Reader = None  # type: ignore[assignment, misc]

Model = TypeVar("Model", bound=Canonical)


class NotCanonical(ValueError):
    """Other bytes than the bus would have written."""


class Row(NamedTuple):
    """How one field is read."""

    name: str
    optional: bool
    """Whether it is left out where it has its default."""
    default: Any
    kind: object
    """`str` and `int` without a limit are read at once."""
    model: Reader | None
    """For a field that is a model of its own; where that one is not sure, `read` is asked."""
    read: Callable[[bytes], Any]
    """Raises ValueError."""


def reader(model: type[Model], hashed: str, **models: Reader | None) -> Reader | None:
    """Compile a model that has no validator of its own; None where no compiler was.

    `hashed` is what it calls the hash of its canonical JSON, if it has a name for it; `models` has the readers of
    fields that are models.
    """
    if Reader is None:
        return None
    return Reader(model, hashed, [_row(name, model.model_fields[name], models) for name in sorted(model.model_fields)])


def _row(name: str, field: FieldInfo, models: dict[str, Reader | None]) -> Row:
    kind = field.annotation if field.annotation in (str, int) and not field.metadata else None
    return Row(name, field.exclude_if is not None, field.default, kind, models.get(name), _read(field))


def _read(field: FieldInfo) -> Callable[[bytes], Any]:
    shape: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    validate, dump = adapter.validator.validate_json, adapter.serializer.to_json
    left_out = field.exclude_if or (lambda _: False)

    def read(text: bytes) -> Any:
        value = validate(text)
        if dump(value) != text or left_out(value):
            raise NotCanonical
        return value

    return read
