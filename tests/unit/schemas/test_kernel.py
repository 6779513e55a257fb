"""Every engine of the slicer takes the same bytes, gives the same slices, and refuses for the same reason at the same
byte. Without a C compiler there is only Python to compare with itself; the run then says so at its end."""

from __future__ import annotations

import random
import threading
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas import wire
from bianhe.schemas.grant import Mask
from bianhe.schemas.slicer import ENGINES, Engine, Slicer
from bianhe.schemas.view import View
from bianhe.schemas.wire import Reason
from support.avro_records import (
    EVENT,
    SECRET,
    contract_of,
    contracts,
    decode,
    encode,
    records,
    views,
    without_logical_types,
)
from support.hostile import CONTRACT, CORPUS, SEEDS, VIEWS, outcome, slicers

BODIES = [bytes.fromhex(line) for line in CORPUS.read_text(encoding="utf-8").split()]


@given(st.data())
def test_engines_agree_on_records_and_on_what_is_left_of_them(data: st.DataObject) -> None:
    contract = data.draw(contracts())
    record = data.draw(records(contract))
    some = [(view, SECRET) for view in data.draw(st.lists(views(contract, record), max_size=4))]
    all_slicers = [Slicer(contract, some, engine) for engine in ENGINES]
    body = encode(contract.schema, record)
    chance = random.Random(data.draw(st.integers(0, 1 << 32)))
    for _ in range(100):
        mutant = bytearray(body)
        for _ in range(chance.choice((0, 1, 1, 3))):
            at = chance.randrange(len(mutant) + 1)
            mutant[at : at + chance.choice((0, 1, 1, 9))] = chance.choice((b"", b"\0", b"\x80", chance.randbytes(3)))
        *others, python = [outcome(slicer, bytes(mutant)) for slicer in all_slicers]
        assert others == [python] * len(others)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_fuzzer_kept_is_judged_alike_and_taken_only_in_its_canonical_form(engine: Engine) -> None:
    plain = without_logical_types(CONTRACT.schema)
    taken = 0
    for body in (*BODIES, *SEEDS):
        found = outcome(slicers()[engine], body)
        assert found == outcome(slicers()[Engine.PYTHON], body)
        if isinstance(found, list):
            assert found[0] == body == encode(plain, decode(plain, body))
            taken += 1
    assert 20 < taken < len(BODIES)


def test_the_corpus_reaches_every_reason_that_a_body_can_be_refused_for() -> None:
    slicer = Slicer(CONTRACT, [(VIEWS[0], None)], Engine.PYTHON)
    found = [outcome(slicer, body) for body in BODIES]
    assert {each[0] for each in found if isinstance(each, tuple)} == set(Reason) - {Reason.MAGIC}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_body_is_refused_wherever_it_is_cut(engine: Engine) -> None:
    slicer, python = slicers()[engine], slicers()[Engine.PYTHON]
    whole = max(BODIES, key=lambda body: (isinstance(outcome(python, body), list), len(body)))
    for end in range(len(whole)):
        found = outcome(slicer, whole[:end])
        assert isinstance(found, tuple)
        assert found == outcome(python, whole[:end])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slicer_may_be_shared_by_threads(engine: Engine) -> None:
    slicer = slicers()[engine]
    expected = [outcome(slicer, body) for body in BODIES]
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(b for b, right in zip(BODIES, expected, strict=True) if outcome(slicer, b) != right)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_mask_year_gives_the_calendar_s_year_on_the_first_and_last_day_of_each(engine: Engine) -> None:
    contract = contract_of({"day": {"type": "int", "logicalType": "date"}})
    slicer = Slicer(contract, [(View(contract, ("day",), {"day": Mask.parse("day=year")}, ()), None)], engine)
    head = encode(contract.schema, {**EVENT, "day": date(1970, 1, 1)})[:-1]
    for year in range(1, 10_000):
        for day in (date(year, 1, 1), date(year, 2, 28), date(year, 3, 1), date(year, 12, 31)):
            body = head + wire.long(day.toordinal() - date(1970, 1, 1).toordinal())
            assert slicer.slice(body) == [head + wire.long(year)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [16, 17, 24, 40])
def test_a_decimal_of_38_digits_ends_at_its_last_digit(engine: Engine, size: int) -> None:
    amount = {"type": "fixed", "name": "Amount", "size": size, "logicalType": "decimal", "precision": 38, "scale": 0}
    contract = contract_of({"amount": amount})
    slicer = Slicer(contract, [], engine)
    head = encode(contract.schema, {**EVENT, "amount": Decimal(0)})[:-size]
    bound = 10**38 - 1
    for inside in (0, 1, -1, 1 << 64, -(1 << 64), bound, -bound):
        assert outcome(slicer, head + inside.to_bytes(size, "big", signed=True)) == []
    outside = [bound + 1, -bound - 1, (1 << 127) - 1, -(1 << 127)]
    if size > 16:
        outside += [-(1 << 128), 1 << 128, (1 << 128) - 1, (1 << 8 * size - 1) - 1, -(1 << 8 * size - 1)]
    for number in outside:
        found = outcome(slicer, head + number.to_bytes(size, "big", signed=True))
        assert found == (Reason.RANGE, len(head))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("tail", [b"", b"\x80", b"\xbf\x80", b"\x80\x41", b"\x80" * 6])
def test_text_is_what_python_decodes_whatever_its_first_two_bytes(engine: Engine, tail: bytes) -> None:
    contract = contract_of({"text": "string"})
    slicer = Slicer(contract, [], engine)
    head = encode(contract.schema, {**EVENT, "text": ""})[:-1] + wire.long(2 + len(tail))
    for first in range(0x80, 0x100):
        for second in range(0x100):
            text = bytes((first, second)) + tail
            try:
                text.decode()
            except UnicodeDecodeError:
                right: object = (Reason.TEXT, len(head) + len(text))
            else:
                right = []
            assert outcome(slicer, head + text) == right
