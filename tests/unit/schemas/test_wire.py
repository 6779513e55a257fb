"""The Confluent wire format V0 and Avro's numbers, against values published for them."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas import wire
from bianhe.schemas.wire import Malformed, Reason


@pytest.mark.parametrize(
    ("schema_id", "body", "value"),
    [(1, b"", "0000000001"), (100, b"\x02a", "00000000640261"), (0xFFFFFFFF, b"\0", "00ffffffff00")],
)
def test_the_head_is_a_zero_byte_and_the_id_in_four(schema_id: int, body: bytes, value: str) -> None:
    assert wire.frame(schema_id, body) == bytes.fromhex(value)


@given(st.integers(0, 0xFFFFFFFF), st.binary())
def test_unframing_takes_back_what_framing_put(schema_id: int, body: bytes) -> None:
    assert wire.unframe(wire.frame(schema_id, body)) == (schema_id, body)


@pytest.mark.parametrize("value", ["", "00", "00000000", "0100000001", "0100000001aa", "7b226122", "ff00000001"])
def test_a_short_value_and_another_magic_are_refused(value: str) -> None:
    with pytest.raises(Malformed) as refused:
        wire.unframe(bytes.fromhex(value))
    assert refused.value.reason is Reason.MAGIC


@pytest.mark.parametrize(
    ("number", "encoded"),  # the table in the Avro specification, "Binary Encoding", and the ends of the range
    [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (2, "04"), (-64, "7f"), (64, "8001"),
     (2**63 - 1, "feffffffffffffffff01"), (-(2**63), "ffffffffffffffffff01")],
)  # fmt: skip
def test_a_number_is_written_as_the_specification_says(number: int, encoded: str) -> None:
    assert wire.long(number).hex() == encoded


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_is_written_as_fastavro_writes_it(number: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert wire.long(number) == out.getvalue()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_of_more_than_64_bits_is_not_written(number: int) -> None:
    with pytest.raises(OverflowError):
        wire.long(number)
