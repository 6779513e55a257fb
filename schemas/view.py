"""A view: what a grant, or the open channel, compiles to. A view never changes (law 4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final

from bianhe.schemas.contract import EVENT_FIELDS, AvroType, Contract, Item, Sharing
from bianhe.schemas.errors import Fault
from bianhe.schemas.grant import Condition, Grant, InvalidGrant, Mask, MaskKind, Operator

BUS_FIELDS: Final[tuple[Mapping[str, AvroType], ...]] = (
    {"name": "bus_offset", "type": "long", "doc": "offset of the source record, in the partition of the same number"},
    {"name": "bus_seq", "type": "long", "doc": "contiguous from 1 in this topic and partition"},
    {"name": "bus_policy", "type": "long", "doc": "the policy version that allowed this record"},
)
_ITEM_PROPERTIES: Final = ("title", "code", "part", "sharing", "sensitivity", "codes", "check", "length")
_RANGES: Final = {"int": range(-(2**31), 2**31), "long": range(-(2**63), 2**63)}
_COMPARABLE: Final = ("string", "enum", "int", "long", "date", "boolean")


@dataclass(frozen=True)
class View:
    """Which items of a contract are delivered, how they are masked, and which entities are in."""

    contract: Contract = field(repr=False)
    items: tuple[str, ...]
    masks: Mapping[str, Mask]
    row_rule: tuple[Condition, ...]

    @cached_property
    def identity(self) -> str:
        """Equal for views that give equal bytes; a pseudonym has a secret per grant and is compared apart."""
        masks = [mask.model_dump(mode="json") for _, mask in sorted(self.masks.items())]
        conditions = [condition.model_dump(mode="json") for condition in sorted(self.row_rule, key=str)]
        return json.dumps([self.items, masks, conditions], ensure_ascii=False)

    @property
    def pseudonymous(self) -> bool:
        return any(mask.kind is MaskKind.PSEUDONYM for mask in self.masks.values())

    def schema(self) -> dict[str, Any]:
        """The Avro schema of the delivery record: `bus_*`, `event_*`, items; the record name is the contract's."""
        head = {
            key: self.contract.schema[key]
            for key in ("type", "name", "namespace", "title")
            if key in self.contract.schema
        }
        items = [self._field(self.contract.by_name[name]) for name in self.items]
        return {**head, "fields": [*BUS_FIELDS, *EVENT_FIELDS, *items]}

    def _field(self, item: Item) -> dict[str, Any]:
        mask = self.masks.get(item.name)
        properties = {key: value for key in _ITEM_PROPERTIES if (value := getattr(item, key)) is not None}
        output = item.type if mask is None else masked_type(item, mask)
        shape: dict[str, Any] = {"name": item.name, "type": output, **properties}
        if mask is not None:
            shape["mask"] = str(mask.kind)
            # a masked value is no code and no identifier any more
            for gone in ("codes", "check", "length"):
                shape.pop(gone, None)
        if isinstance(output, list):
            shape["default"] = None
        return shape


def masked_type(item: Item, mask: Mask) -> AvroType:
    """The type that a mask gives an item; null stays possible where it was, except under a constant."""
    if mask.kind is MaskKind.NULL:
        return item.type if item.nullable else ["null", item.type]
    if mask.kind is MaskKind.CONSTANT:
        return "string"
    output = "int" if mask.kind is MaskKind.YEAR else "string"
    return ["null", output] if item.nullable else output


def open_view(contract: Contract) -> View:
    """The view of the open channel: all unconditional items, unmasked, all entities."""
    return View(contract, contract.unconditional, {}, ())


def channel_view(contract: Contract, view_schema: str) -> View:
    """The view of an open channel that was opened with this schema, whatever a revision made unconditional since."""
    fields = json.loads(view_schema)["fields"][len(BUS_FIELDS) + len(EVENT_FIELDS) :]
    return View(contract, tuple(field["name"] for field in fields), {}, ())


def grant_view(contract: Contract, grant: Grant) -> View:
    """The view of a grant; raises InvalidGrant with the first of its faults."""
    if faults := grant_faults(contract, grant.items, grant.masks, grant.row_rule):
        raise InvalidGrant(str(faults[0]), cause="; ".join(map(str, faults[1:])), cure=faults[0].cure)
    return View(
        contract=contract,
        items=contract.in_order(frozenset(grant.items)),
        masks={mask.item: mask for mask in grant.masks},
        row_rule=grant.row_rule,
    )


def reads_open_channel(view: View) -> bool:
    """Whether the open channel already carries exactly this view (design 3.4)."""
    return view.items == view.contract.unconditional and not view.masks and not view.row_rule


def grant_faults(
    contract: Contract, items: tuple[str, ...], masks: tuple[Mask, ...], row_rule: tuple[Condition, ...]
) -> list[Fault]:
    """Everything that keeps these items, masks and conditions from being a view of this contract."""
    faults = []
    if not items:
        faults.append(Fault("items", "items-present", "no item is named"))
    for name in items:
        item = contract.by_name.get(name)
        if item is None:
            faults.append(
                Fault(
                    name,
                    "item-known",
                    f"{contract.resource}.v{contract.version} has no such item",
                    cure=f"bianhe contract show {contract.resource}",
                )
            )
        elif item.sharing is Sharing.WITHHELD:
            faults.append(Fault(name, "item-withheld", "withheld items never reach the bus"))
    for mask in masks:
        faults.extend(_mask_faults(contract, items, mask))
    if len({mask.item for mask in masks}) < len(masks):
        faults.append(Fault("masks", "mask-once", "an item is masked twice"))
    masked = {mask.item for mask in masks}
    for condition in row_rule:
        faults.extend(_condition_faults(contract, masked, condition))
    return faults


def _mask_faults(contract: Contract, items: tuple[str, ...], mask: Mask) -> list[Fault]:
    item = contract.by_name.get(mask.item)
    if item is None or mask.item not in items:
        return [Fault(mask.item, "mask-granted", "a mask names an item that is not granted")]
    if mask.kind in (MaskKind.FIRST, MaskKind.PSEUDONYM) and item.kind != "string":
        return [Fault(mask.item, "mask-type", f"{mask.kind} needs a string, this item is {item.kind}")]
    if mask.kind is MaskKind.YEAR and item.kind != "date":
        return [Fault(mask.item, "mask-type", f"year needs a date, this item is {item.kind}")]
    return [fault] if (fault := mask.fault) else []


def _condition_faults(contract: Contract, masked: set[str], condition: Condition) -> list[Fault]:
    item = contract.by_name.get(condition.item)
    if item is None:
        return [Fault(condition.item, "condition-item", "a row rule names an item that the contract lacks")]
    if condition.item in masked:
        return [
            Fault(
                condition.item,
                "condition-masked",
                "a row rule must not decide on a masked item: it would tell what the mask hides",
                cure="decide on another item, or grant this one unmasked",
            )
        ]
    if item.kind not in _COMPARABLE:
        return [Fault(condition.item, "condition-type", f"{item.kind} cannot be compared")]
    if condition.operator is Operator.PREFIX and item.kind != "string":
        return [Fault(condition.item, "condition-type", f"prefix needs a string, this item is {item.kind}")]
    if fault := condition.fault:
        return [fault]
    return _constant_faults(item, condition)


def _constant_faults(item: Item, condition: Condition) -> list[Fault]:
    try:
        for value in condition.values:
            constant(item, value)
    except ValueError as error:
        return [Fault(item.name, "condition-constant", str(error))]
    return []


def constant(item: Item, text: str) -> str | int | bool:
    """The constant of a condition in the type of its item (a date is written YYYY-MM-DD); raises ValueError."""
    match item.kind:
        case "string":
            return text
        case "date":
            return (date.fromisoformat(text) - date(1970, 1, 1)).days
        case "int" | "long" as kind if re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII) and int(text) in _RANGES[kind]:
            return int(text)
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "enum" if text in item.value_type["symbols"]:
            return text
    raise ValueError(f"{text!r} is no {item.kind} of {item.name}")
