"""The slicer does on bytes what fastavro does by decoding, and takes only what fastavro would write."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas.contract import InvalidContract
from bianhe.schemas.grant import Condition, Mask, MaskKind, Operator
from bianhe.schemas.slicer import ENGINES, Engine, Slicer
from bianhe.schemas.view import View, open_view
from bianhe.schemas.wire import Malformed, Reason
from support.avro_records import (
    EVENT,
    SECRET,
    contract_of,
    contracts,
    decode,
    delivered,
    encode,
    records,
    views,
    without_logical_types,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "malformed"
engines = pytest.mark.parametrize("engine", ENGINES)


@engines
@given(st.data())
def test_slices_equal_decode_project_mask_encode(engine: Engine, data: st.DataObject) -> None:
    contract = data.draw(contracts())
    record = data.draw(records(contract))
    some = data.draw(st.lists(views(contract, record), min_size=1, max_size=4))
    body = encode(contract.schema, record)

    slices = Slicer(contract, [(view, SECRET) for view in some], engine).slice(body)

    assert slices == [delivered(view, decode(contract.schema, body)) for view in some]


@engines
@given(st.data())
def test_what_is_not_refused_is_a_record_in_its_canonical_form(engine: Engine, data: st.DataObject) -> None:
    contract = data.draw(contracts())
    record = data.draw(records(contract))
    view = data.draw(views(contract, record))
    slicer = Slicer(contract, [(view, SECRET)], engine)
    plain = without_logical_types(contract.schema)
    for _ in range(20):
        mutant = data.draw(_mutants(encode(contract.schema, record)))
        try:
            slices = slicer.slice(mutant)
        except Malformed:
            continue
        decode(contract.schema, mutant)
        assert encode(plain, decode(plain, mutant)) == mutant
        assert slices == [delivered(view, decode(plain, mutant), plain=True)]


@st.composite
def _mutants(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, len(body)))
    gone = draw(st.integers(0, 3))
    new = draw(st.sampled_from([b"", b"\0", b"\1", b"\2", b"\x80", b"\xff", b"\x80\0"]) | st.binary(max_size=12))
    return body[:at] + new + body[at + gone :]


@engines
@given(st.data())
def test_every_part_of_a_record_is_refused_and_so_is_a_record_with_more(engine: Engine, data: st.DataObject) -> None:
    contract = data.draw(contracts())
    body = encode(contract.schema, data.draw(records(contract)))
    slicer = Slicer(contract, [(open_view(contract), None)], engine)
    for end in {data.draw(st.integers(0, len(body) - 1)), len(body) - 1}:
        with pytest.raises(Malformed):
            slicer.slice(body[:end])
    with pytest.raises(Malformed) as trailing:
        slicer.slice(body + data.draw(st.binary(min_size=1, max_size=9)))
    assert trailing.value.reason is Reason.TRAILING


BAD_INPUT = {"TRUNCATED": "b20", "TRAILING": "b21", "UNION": "b22", "TEXT": "b23"}
"""The number of a case in infra/docs/bad-input.md, by the reason of its refusal."""


def _cases() -> list[Any]:
    cases = []
    for path in sorted(VECTORS.glob("*.json")):
        vectors = json.loads(path.read_text(encoding="utf-8"))
        cases += [
            pytest.param(
                vectors["items"],
                bytes.fromhex(case["hex"]),
                case["reason"],
                id=f"{BAD_INPUT.get(case['reason'], path.stem)}: {case['name']}",
            )
            for case in vectors["cases"]
        ]
    return cases


@engines
@pytest.mark.parametrize(("items", "body", "reason"), _cases())
def test_malformed_bytes_are_refused_for_their_reason_in_little_memory(
    engine: Engine, items: dict[str, Any], body: bytes, reason: str
) -> None:
    contract = contract_of(items)
    slicer = Slicer(contract, [(View(contract, tuple(items), {}, ()), None)], engine)
    tracemalloc.start()
    try:
        if reason == "":
            assert slicer.slice(body) == [body]
            return
        with pytest.raises(Malformed) as refused:
            slicer.slice(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert refused.value.reason is Reason[reason]


@engines
def test_a_refusal_carries_nothing_of_the_record(engine: Engine) -> None:
    contract = contract_of({"name": "string"})
    body = encode(contract.schema, {**EVENT, "name": "张三"})[:-1] + b"\xff"
    with pytest.raises(Malformed) as refused:
        Slicer(contract, [], engine).slice(body)
    error: BaseException | None = refused.value
    while error is not None:
        assert not isinstance(error, UnicodeDecodeError)
        error = error.__cause__ or error.__context__


@engines
@pytest.mark.parametrize("mask", ["item=null", "item=constant:不详", "item=first:2", "item=pseudonym", "item=year"])
def test_masks_leave_null_null_except_the_constant(engine: Engine, mask: str) -> None:
    shape = {"type": "int", "logicalType": "date"} if mask == "item=year" else "string"
    value = date(9999, 12, 31) if mask == "item=year" else "汴河水"
    for item_type, values in ((shape, [value]), (["null", shape], [value, None])):
        contract = contract_of({"item": item_type})
        view = View(contract, ("item",), {"item": Mask.parse(mask)}, ())
        for each in values:
            record = {**EVENT, "item": each}
            slices = Slicer(contract, [(view, SECRET)], engine).slice(encode(contract.schema, record))
            assert slices == [delivered(view, record)]


@engines
def test_null_matches_no_condition_not_even_the_empty_prefix(engine: Engine) -> None:
    contract = contract_of({"name": ["null", "string"]})
    rules = [Condition(item="name", operator=operator, values=("",)) for operator in Operator]
    slicer = Slicer(contract, [(View(contract, ("name",), {}, (rule,)), None) for rule in rules], engine)
    assert slicer.slice(encode(contract.schema, {**EVENT, "name": None})) == [None] * len(rules)
    assert None not in slicer.slice(encode(contract.schema, {**EVENT, "name": ""}))


@engines
def test_a_prefix_does_not_look_beyond_its_item(engine: Engine) -> None:
    contract = contract_of({"division": "string", "street": "string"})
    rule = Condition(item="division", operator=Operator.PREFIX, values=("41\x042",))
    slicer = Slicer(contract, [(View(contract, ("division",), {}, (rule,)), None)], engine)
    assert slicer.slice(encode(contract.schema, {**EVENT, "division": "41", "street": "2x"})) == [None]


@engines
def test_a_named_type_may_be_named_again(engine: Engine) -> None:
    point = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}
    fields = [{"name": "from", "type": point}, {"name": "to", "type": "Point"}]
    contract = contract_of({"line": {"type": "record", "name": "Line", "fields": fields}})
    body = encode(contract.schema, {**EVENT, "line": {"from": {"x": 1, "y": 2}, "to": {"x": 3, "y": -400}}})
    assert Slicer(contract, [(View(contract, ("line",), {}, ()), None)], engine).slice(body) == [body]


@engines
def test_arrays_in_arrays_go_as_deep_as_a_contract_may(engine: Engine) -> None:
    shape: Any = "string"
    value: Any = "深"
    for _ in range(28):
        shape, value = {"type": "array", "items": shape}, [value]
    contract = contract_of({"deep": shape})
    body = encode(contract.schema, {**EVENT, "deep": value})
    assert Slicer(contract, [(View(contract, ("deep",), {}, ()), None)], engine).slice(body) == [body]


@engines
def test_a_contract_as_wide_as_the_rules_allow_is_cut_at_every_second_item(engine: Engine) -> None:
    contract = contract_of({f"item_{i}": "string" for i in range(508)})
    body = encode(contract.schema, {**EVENT, **{name: name for name in contract.by_name}})
    mask = {name: Mask(item=name, kind=MaskKind.FIRST, argument="4") for name in tuple(contract.by_name)[::2]}
    view = View(contract, tuple(contract.by_name), mask, ())
    assert Slicer(contract, [(view, None)], engine).slice(body) == [delivered(view, decode(contract.schema, body))]


@engines
def test_a_contract_against_the_rules_gets_no_slicer(engine: Engine) -> None:
    with pytest.raises(InvalidContract):
        Slicer(contract_of({"bomb": {"type": "array", "items": "null"}}), [], engine)


@engines
def test_a_pseudonym_needs_a_secret(engine: Engine) -> None:
    contract = contract_of({"name": "string"})
    view = View(contract, ("name",), {"name": Mask(item="name", kind=MaskKind.PSEUDONYM)}, ())
    with pytest.raises(ValueError, match="no secret"):
        Slicer(contract, [(view, None)], engine)
