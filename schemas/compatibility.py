"""May a new version of a contract follow the old one under the same topic?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, cast

import avro.schema
import fastavro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from bianhe.schemas import contract_rules
from bianhe.schemas.contract import Contract
from bianhe.schemas.errors import Fault


class Mode(StrEnum):
    """Who must be able to read what; the names are those of the Schema Registry API."""

    BACKWARD = "BACKWARD"
    FORWARD = "FORWARD"
    FULL = "FULL"


def faults(old: dict[str, Any], new: dict[str, Any], mode: Mode = Mode.FULL) -> list[Fault]:
    """Return everything that keeps the new schema from following the old one, which was accepted before.

    BACKWARD: readers of the new one understand what was written by the old; FORWARD: readers of the old one understand
    what the new writes; FULL: both, the rule for base resources. A new schema that breaks the contract rules follows
    nothing. A logical type, its precision and its scale must stay, which Avro's own resolution does not look at.
    """
    if found := contract_rules.faults(new):
        return found
    if mode is not Mode.FORWARD:
        found += _resolution_faults(reader=new, writer=old, rule="compatible-backward")
    if mode is not Mode.BACKWARD:
        found += _resolution_faults(reader=old, writer=new, rule="compatible-forward")
    return found + list(_logical_faults("", _expanded(old), _expanded(new)))


def _resolution_faults(reader: dict[str, Any], writer: dict[str, Any], rule: str) -> list[Fault]:
    reading, writing = _parsed(reader), _parsed(writer)
    if not (whole := _mismatch(reading, writing)):
        return []
    # asked again field by field, since the answer for the whole often does not say which field it means
    written = {field.name: field for field in writing.fields}
    found = []
    for field in reading.fields:
        match = next(
            (written[name] for name in (field.name, *field.other_props.get("aliases", ())) if name in written), None
        )
        if match is None and not field.has_default:
            found.append(Fault(field.name, rule, "a field that the writer lacks, and that has no default"))
        elif match is not None and (mismatch := _mismatch(field.type, match.type)):
            found.append(Fault(field.name, rule, mismatch))
    return found or [Fault("schema", rule, whole)]


def _mismatch(reader: Any, writer: Any) -> str:
    """Why a reader cannot read what a writer writes, both as avro parsed them; empty if it can."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)  # type: ignore[no-untyped-call]
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ""
    kinds = sorted({kind.value.replace("_", " ") for kind in result.incompatibilities})
    return f"{', '.join(kinds)}: {'; '.join(sorted(result.messages))}"


def _parsed(schema: dict[str, Any]) -> avro.schema.RecordSchema:
    return cast(avro.schema.RecordSchema, avro.schema.parse(json.dumps(schema)))


def _expanded(schema: dict[str, Any]) -> Any:
    return fastavro.schema.expand_schema(cast(Any, schema))


def _logical_faults(path: str, old: Any, new: Any) -> Iterator[Fault]:
    """Where a logical type changes between two schemas with every named type written out."""
    old, new = _value_type(old), _value_type(new)
    if _meaning(old) != _meaning(new):
        yield Fault(
            path, "compatible-logical-type", f"was {_meaning(old) or 'none'}, becomes {_meaning(new) or 'none'}"
        )
    if old["type"] != new["type"]:
        return
    if old["type"] == "record":
        after = {field["name"]: field["type"] for field in new["fields"]}
        for field in old["fields"]:
            if field["name"] in after:
                inner = f"{path}.{field['name']}" if path else field["name"]
                yield from _logical_faults(inner, field["type"], after[field["name"]])
    for part in ("items", "values"):
        if part in old:
            yield from _logical_faults(f"{path}.{part}", old[part], new[part])


def _value_type(shape: Any) -> dict[str, Any]:
    """A type as an object, without the null of a union."""
    value = shape[-1] if isinstance(shape, list) else shape
    return {"type": value} if isinstance(value, str) else value


def _meaning(shape: dict[str, Any]) -> str:
    """The logical type with what fixes its values; empty without one."""
    logical = shape.get("logicalType", "")
    return f"decimal({shape['precision']}, {shape.get('scale', 0)})" if logical == "decimal" else str(logical)


def revision_faults(old: Contract, new: Contract) -> list[Fault]:
    """What keeps a contract from being a revision within the same version.

    A revision adds nullable items and changes none, nor their order: records written before it then stand under every
    view, the items that it added being null, and what a view delivers stays what its schema says.
    """
    cure = "raise the version of the resource: both run side by side while departments move"
    faults = []
    for item in old.items:
        now = new.by_name.get(item.name)
        if now is None:
            faults.append(Fault(item.name, "revision-keeps", "an item of this version is gone", cure=cure))
        elif now.type != item.type:
            faults.append(Fault(item.name, "revision-type", "an item changes its type within a version", cure=cure))
    kept = frozenset(old.by_name) & frozenset(new.by_name)
    if old.in_order(kept) != new.in_order(kept):
        faults.append(Fault("schema", "revision-order", "items change their order within a version", cure=cure))
    faults += [
        Fault(item.name, "revision-null", "an item added within a version must be nullable, null by default", cure=cure)
        for item in new.items
        if item.name not in old.by_name and not item.nullable
    ]
    if new.key != old.key:
        faults.append(Fault("key", "revision-key", "every entity would become another", cure=cure))
    return faults
