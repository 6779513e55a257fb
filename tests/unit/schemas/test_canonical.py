"""The compiled reader of the policy log takes what pydantic takes, as the same values, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bianhe.schemas.grant import Condition, Grant, Mask, MaskKind, Operator
from bianhe.schemas.records.policy import READER, Department, Granted, PolicyRecord
from support.policy_bodies import granted, population

pytestmark = pytest.mark.skipif(READER is None, reason="no C compiler was here")

WORDS = st.text(max_size=12) | st.sampled_from(
    ["", "模拟", 'said "so"', "back\\slash", "two\nlines", "\x7f\u2028𠮷", "],}"]
)
TEXTS = WORDS.map(str.strip).filter(bool)
ITEMS = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
NUMBERS = st.integers(-5, 10**20)
GRANTS: SearchStrategy[Grant] = st.builds(
    Grant,
    number=st.from_regex(r"G-[0-9]{4}-[0-9]{4,6}", fullmatch=True),
    department=WORDS,
    resource=WORDS,
    version=NUMBERS,
    items=st.lists(ITEMS, max_size=3).map(tuple),
    masks=st.lists(st.builds(Mask, item=ITEMS, kind=st.sampled_from(MaskKind), argument=WORDS), max_size=2).map(tuple),
    row_rule=st.lists(
        st.builds(Condition, item=ITEMS, operator=st.sampled_from(Operator), values=st.tuples(WORDS)), max_size=2
    ).map(tuple),
    purpose=TEXTS,
    basis=TEXTS,
    scenario=TEXTS,
    scope=TEXTS,
    until=st.dates(),
)
BODIES = st.builds(
    Granted,
    application=st.sampled_from(["", "A-2026-0001"]),
    grant=GRANTS,
    digest=WORDS,
    topic=WORDS,
    schema_id=NUMBERS,
    view_schema=WORDS,
) | st.builds(Department, code=WORDS, title=WORDS)
RECORDS = st.builds(
    PolicyRecord,
    number=NUMBERS,
    previous=WORDS,
    id=WORDS,
    at=st.datetimes(timezones=st.just(UTC)),
    body=BODIES,
    signature=WORDS,
)
PIECES = [
    *(b"", b" ", b"\n", b"\x00", b"\xff", b"\xed\xa0\x80", "\u3000".encode()),
    *rb'" \ \u0041 , : { } [ ] 0 - -0 1.0 1e3 9999999999999999999 null "", "x":1, "application":"",'.split(),
]


@given(RECORDS)
def test_what_is_canonical_is_read_the_same(record: PolicyRecord) -> None:
    _same(record.encode())


@given(RECORDS, st.integers(0))
def test_what_pydantic_refuses_the_reader_does_not_take(record: PolicyRecord, seed: int) -> None:
    value, chance = record.encode(), Random(seed)
    for _ in range(100):
        changed = value
        for _ in range(chance.choice((1, 1, 2))):
            begin = chance.randrange(len(changed) + 1)
            changed = changed[:begin] + chance.choice(PIECES) + changed[begin + chance.randrange(4) :]
        _same(changed)


@pytest.mark.parametrize("body", [granted(), granted("name prefix 王", ("name=first:1",)), population()])
def test_what_the_bus_writes_is_taken_at_once(body: Granted) -> None:
    value = PolicyRecord(number=1, previous="", id="1", at=datetime(2026, 11, 28, tzinfo=UTC), body=body).encode()
    assert READER is not None
    assert READER(value) == PolicyRecord.decode_whole(value)


@pytest.mark.parametrize("number", ["0", "-1", "01", "-0", "-01", "1.0", "1e0", "9" * 19, "+1", "1 ", "", "-", "true"])
def test_a_number_is_written_in_one_way(number: str) -> None:
    value = PolicyRecord(number=1, previous="", id="1", at=datetime(2026, 11, 28, tzinfo=UTC), body=granted()).encode()
    _same(value.replace(b'"number":1,', b'"number":%s,' % number.encode()))
    _same(value.replace(b'"schema_id":102,', b'"schema_id":%s,' % number.encode()))


def test_what_is_made_of_a_grant_does_not_outlive_a_change() -> None:
    grant = granted().grant
    assert grant.model_copy(update={"until": date(2099, 1, 1)}).digest != grant.digest


def test_a_model_that_is_read_field_by_field_has_no_rule_of_its_own() -> None:
    for model in (PolicyRecord, Granted, Grant):
        rules = model.__pydantic_decorators__
        assert not any((rules.model_validators, rules.field_validators, rules.model_serializers))


def _same(value: bytes) -> None:
    """What the reader takes of these bytes is what is read of them as a whole."""
    assert READER is not None
    read = READER(value)
    if read is None:
        return
    whole = PolicyRecord.decode_whole(value)
    assert (read, read.encode(), read.hash) == (whole, value, sha256(value).hexdigest())
    assert read.model_fields_set == whole.model_fields_set
    if isinstance(read.body, Granted) and isinstance(whole.body, Granted):
        assert read.body.grant.digest == whole.body.grant.digest
        assert read.body.model_fields_set == whole.body.model_fields_set
