import json
from dataclasses import replace
from datetime import UTC, date, datetime

import fastavro
import pytest

from bianhe.schemas.contract import EVENT_KINDS, Contract, InvalidContract
from bianhe.schemas.grant import Condition, Grant, InvalidGrant, Mask, MaskKind, Operator, parse_row_rule
from bianhe.schemas.lanes import NO_TERM
from bianhe.schemas.view import View, constant, grant_faults, grant_view, masked_type, open_view, reads_open_channel
from support.avro_records import contract_of
from support.records import contract

NULLABLE_DATE = ["null", {"type": "int", "logicalType": "date"}]


def a_grant(items: tuple[str, ...], masks: tuple[str, ...] = (), row_rule: str = "") -> Grant:
    return Grant(
        number="G-2026-0001", department="renshe", resource="population", version=1, items=items,
        masks=tuple(Mask.parse(mask) for mask in masks), row_rule=parse_row_rule(row_rule) if row_rule else (),
        purpose="业务协同", basis="示例,待核", scenario="测试", scope="测试", until=date(2027, 12, 31),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "output"),
    [
        ("name=null", ["null", "string"]),
        ("death_date=null", NULLABLE_DATE),
        ("name=constant:某", "string"),
        ("former_name=constant:某", "string"),
        ("citizen_id=first:6", "string"),
        ("former_name=first:1", ["null", "string"]),
        ("citizen_id=pseudonym", "string"),
        ("birth_date=year", "int"),
        ("death_date=year", ["null", "int"]),
    ],
)
def test_a_mask_fixes_the_output_type(mask: str, output: object) -> None:
    parsed = Mask.parse(mask)
    assert masked_type(contract().by_name[parsed.item], parsed) == output


def test_the_view_schema_is_avro_keeps_the_record_name_and_the_order() -> None:
    view = grant_view(contract(), a_grant(("migrated_on", "name", "citizen_id"), ("citizen_id=first:6",)))
    schema = view.schema()
    fastavro.parse_schema(schema)
    assert schema["name"] == contract().schema["name"]
    assert schema["namespace"] == contract().schema["namespace"]
    order = [field["name"] for field in schema["fields"]]
    assert order == [
        "bus_offset", "bus_seq", "bus_policy", "event_id", "event_kind", "event_time", "event_case",
        "citizen_id", "name", "migrated_on",
    ]  # fmt: skip


def test_identical_views_have_one_identity_and_one_schema() -> None:
    one = grant_view(contract(), a_grant(("name", "citizen_id"), ("citizen_id=null", "name=first:1")))
    other = grant_view(contract(), a_grant(("citizen_id", "name"), ("name=first:1", "citizen_id=null")))
    assert one.identity == other.identity
    assert json.dumps(one.schema()) == json.dumps(other.schema())


def test_only_all_unconditional_items_unmasked_for_all_entities_read_the_open_channel() -> None:
    every = contract().unconditional
    assert reads_open_channel(open_view(contract()))
    assert reads_open_channel(grant_view(contract(), a_grant(every)))
    for grant in (
        a_grant(every[:-1]),
        a_grant((*every, "ethnic_group")),
        a_grant(every, ("name=first:1",)),
        a_grant(every, (), "sex = 1"),
    ):
        assert not reads_open_channel(grant_view(contract(), grant))


@pytest.mark.parametrize(
    ("items", "masks", "row_rule", "rule"),
    [
        ((), (), "", "items-present"),
        (("fingerprint",), (), "", "item-known"),
        (("name",), ("sex=null",), "", "mask-granted"),
        (("birth_date",), ("birth_date=first:4",), "", "mask-type"),
        (("name",), ("name=year",), "", "mask-type"),
        (("name",), ("name=null", "name=first:1"), "", "mask-once"),
        (("name",), (), "nothing = 1", "condition-item"),
        (("citizen_id",), ("citizen_id=first:6",), "citizen_id prefix 410212", "condition-masked"),
        (("birth_date",), (), "birth_date prefix 19", "condition-type"),
        (("birth_date",), (), "birth_date = soon", "condition-constant"),
        (("name",), (), "event_time = 1", "condition-item"),
    ],
)
def test_what_cannot_be_a_view_is_refused_with_its_rule(
    items: tuple[str, ...], masks: tuple[str, ...], row_rule: str, rule: str
) -> None:
    conditions = parse_row_rule(row_rule) if row_rule else ()
    faults = grant_faults(contract(), items, tuple(Mask.parse(mask) for mask in masks), conditions)
    assert [fault.rule for fault in faults] == [rule]


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        *((MaskKind.FIRST, argument) for argument in ("", "x", "-3", "0", "٣", "4\n", "10000", "9" * 20)),
        (MaskKind.CONSTANT, "x" * 501),
        *((kind, "x") for kind in (MaskKind.NULL, MaskKind.PSEUDONYM, MaskKind.YEAR)),
    ],
)
def test_a_mask_whose_argument_is_not_of_its_kind_is_no_view(kind: MaskKind, argument: str) -> None:
    item = "birth_date" if kind is MaskKind.YEAR else "name"
    faults = grant_faults(contract(), (item,), (Mask(item=item, kind=kind, argument=argument),), ())
    assert [fault.rule for fault in faults] == ["mask-argument"]


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        *((operator, values) for operator in Operator for values in ((), ("",), ("x" * 501,))),
        *((operator, ("1", "2")) for operator in (Operator.EQUALS, Operator.PREFIX)),
        (Operator.IN, ("1", "")),
    ],
)
def test_a_condition_without_the_values_of_its_operator_is_no_view(operator: Operator, values: tuple[str, ...]) -> None:
    faults = grant_faults(contract(), ("name",), (), (Condition(item="name", operator=operator, values=values),))
    assert [fault.rule for fault in faults] == ["condition-values"]


def test_an_ungranted_item_may_decide_who_is_in() -> None:
    assert grant_view(contract(), a_grant(("name",), (), "residence_division prefix 410212")).row_rule


@pytest.mark.parametrize(
    "text", ["name", "name=blur", "name=first", "name=first:0", "name=null:x", "Name=null", "=null"]
)
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(InvalidGrant):
        Mask.parse(text)


@pytest.mark.parametrize(
    "text", ["", "name", "name is x", "name =", "NAME = x", "name = x and", "name in 1,,2", "name in 1, "]
)
def test_what_is_no_row_rule_is_refused(text: str) -> None:
    with pytest.raises(InvalidGrant):
        parse_row_rule(text)


def test_space_around_the_values_of_a_row_rule_is_no_part_of_them() -> None:
    [condition] = parse_row_rule("residence_division in 410202 , 410203")
    assert condition.values == ("410202", "410203")


def test_a_term_ends_with_its_last_day_in_the_citys_time() -> None:
    until = datetime.fromtimestamp(a_grant(("name",)).until_millis / 1000, UTC)
    assert until.isoformat() == "2027-12-31T16:00:00+00:00"


def test_a_term_to_the_last_day_of_the_calendar_does_not_end() -> None:
    assert a_grant(("name",)).model_copy(update={"until": date.max}).until_millis == NO_TERM


def test_a_contract_says_what_it_lacks() -> None:
    broken = {**contract().schema, "fields": [*contract().schema["fields"], {"name": "x", "type": "string"}]}
    with pytest.raises(InvalidContract, match="'x'"):
        Contract.parse(json.dumps(broken))


def test_conditions_that_differ_in_their_constants_are_different_views() -> None:
    one = Condition(item="name", operator=Operator.IN, values=("1,2",))
    two = Condition(item="name", operator=Operator.IN, values=("1", "2"))
    views = [View(contract(), ("name",), {}, (condition,)) for condition in (one, two)]
    assert views[0].identity != views[1].identity


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", "1_0", "١", " 1", "1.0", "", "9" * 30])
def test_a_number_that_the_item_cannot_hold_is_no_constant(text: str) -> None:
    with pytest.raises(ValueError, match="is no int"):
        constant(replace(contract().by_name["birth_date"], type="int"), text)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, {"type": "int"}),
        (0, {"default": ""}),
        (1, {"type": {"type": "enum", "name": "EventKind", "symbols": [*reversed(EVENT_KINDS)]}}),
        (2, {"type": "long"}),
        (3, {"type": "string"}),
        (3, {"name": "case"}),
    ],
)
def test_event_fields_are_those_of_every_view(place: int, other: dict[str, object]) -> None:
    fields = [*contract().schema["fields"]]
    fields[place] = {**fields[place], "doc": "differs"}
    assert Contract.parse(json.dumps({**contract().schema, "fields": fields})).items == contract().items
    fields[place] = {**fields[place], **other}
    with pytest.raises(InvalidContract, match=f"field {place + 1} is not"):
        Contract.parse(json.dumps({**contract().schema, "fields": fields}))


def test_a_contract_of_fewer_than_the_event_fields_is_refused() -> None:
    with pytest.raises(InvalidContract, match="field 4 is not"):
        Contract.parse(json.dumps({**contract().schema, "fields": contract().schema["fields"][:3]}))


@pytest.mark.parametrize("name", ["bus_offset", "bus_seq", "bus_policy", "event_place"])
def test_no_item_is_named_like_a_field_of_the_bus(name: str) -> None:
    with pytest.raises(InvalidContract, match=name):
        contract_of({name: "string"})


def test_a_type_of_the_same_name_in_another_namespace_is_another_type() -> None:
    here, there = ({"type": "enum", "name": "X", "namespace": space, "symbols": ["A"]} for space in ("here", "there"))
    for name in ("X", "here.X"):
        both = [{"name": "f", "type": there}, {"name": "g", "type": name}]
        with pytest.raises(InvalidContract, match="uses the type"):
            contract_of({"one": here, "two": {"type": "record", "name": "R", "fields": both}})
    both = [{"name": "f", "type": there}, {"name": "g", "type": "there.X"}]
    own = contract_of({"one": here, "two": {"type": "record", "name": "R", "fields": both}})
    fastavro.parse_schema(View(own, ("two",), {}, ()).schema())


@pytest.mark.parametrize("shape", ["Other", ["null", "Other"], {"type": "Other"}, {"type": "array", "items": "Other"}])
def test_an_item_that_borrows_anothers_type_is_refused(shape: object) -> None:
    fields = [*contract().schema["fields"]]
    fields[-1] = {**fields[-1], "type": shape}
    with pytest.raises(InvalidContract, match="Other"):
        Contract.parse(json.dumps({**contract().schema, "fields": fields}))


def test_a_contract_nested_without_end_is_refused() -> None:
    with pytest.raises(InvalidContract):
        Contract.parse("[" * 100_000)
