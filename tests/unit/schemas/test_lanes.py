"""What is delivered is a slice behind its head and `bus_*` fields; every record counts once in every lane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas import wire
from bianhe.schemas.lanes import NO_TERM, Lane, Lanes
from bianhe.schemas.slicer import ENGINES, Engine, Slicer
from bianhe.schemas.view import open_view
from bianhe.schemas.wire import Malformed
from support.avro_records import SECRET, contracts, encode, records, views
from support.records import contract, person

engines = pytest.mark.parametrize("engine", ENGINES)
numbers = st.integers(0, 2**62)


def columns(lanes: Lanes) -> list[tuple[int, int, int]]:
    return list(zip(lanes.seq, lanes.kept_back, lanes.cut, strict=True))


@engines
@given(st.data())
def test_each_lane_gets_its_slice_or_keeps_it_back(engine: Engine, data: st.DataObject) -> None:
    drawn = data.draw(contracts())
    record = data.draw(records(drawn))
    some = data.draw(st.lists(views(drawn, record), min_size=1, max_size=3))
    slicer = Slicer(drawn, [(view, SECRET) for view in some], engine)
    body = encode(drawn.schema, record)
    lane = st.builds(
        Lane,
        slot=st.integers(0, len(some) - 1),
        frame=st.binary(min_size=4, max_size=4).map(lambda number: b"\0" + number),
        until=st.sampled_from([0, 10, NO_TERM]),
        seq=numbers,
        cut=st.booleans(),
    )
    given_lanes = data.draw(st.lists(lane, max_size=4))
    offset, policy_version, times = data.draw(numbers), data.draw(numbers), data.draw(st.lists(st.integers(0, 20)))
    lanes = Lanes(given_lanes)
    deliver = slicer.delivering(lanes)

    expected = [[each.seq, 0, each.cut] for each in given_lanes]
    for at in times:
        values: list[bytes | None] = []
        for each, counted in zip(given_lanes, expected, strict=True):
            counted[2] = counted[2] or at >= each.until
            slice = slicer.slice(body)[each.slot]
            if counted[2] or slice is None:
                counted[1] += 1
                values.append(None)
            else:
                counted[0] += 1
                bus = (wire.long(number) for number in (offset, counted[0], policy_version))
                values.append(b"".join([each.frame, *bus, slice]))
        assert deliver(b"\0\0\0\0\1" + body, offset, policy_version, at) == values
    assert columns(lanes) == [tuple(counted) for counted in expected]


@engines
def test_a_malformed_record_counts_nowhere(engine: Engine) -> None:
    lanes = Lanes([Lane(0, b"\0\0\0\0\1", NO_TERM, 7, False)])
    deliver = Slicer(contract(), [(open_view(contract()), None)], engine).delivering(lanes)
    with pytest.raises(Malformed):
        deliver(person()[:-1], 0, 1, 0)
    assert columns(lanes) == [(7, 0, 0)]
