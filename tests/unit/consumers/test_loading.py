"""A first load delivers what stood when the view began, then follows the log: at every interruption the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from bianhe.consumers.router.loading import Loading
from bianhe.consumers.router.plan import Route, compile_plan
from bianhe.consumers.router.routing import Headers, Routed, SourceRecord
from bianhe.schemas.records.state import ViewPosition
from bianhe.schemas.view import grant_view
from support.first_load import BAD, RULE, the_view
from support.policy_bodies import MAILBOX, channel, granted, policy, population
from support.records import contract, person, read

TODAY = date(2026, 11, 22)
Delivered = tuple[bytes | None, Headers | None]
NOW = 1_795_000_000_000


def a_route(rule: str) -> Route:
    return compile_plan(policy(population(), channel(), granted(rule)), None).routes["source.population.v1"]


def delivered(routed: Routed) -> list[Delivered]:
    return [(value, None) for value in routed.values if value] + [(None, headers) for _, headers in routed.nulls]


def a_log(changes: Sequence[tuple[int, str | None]]) -> list[SourceRecord]:
    """Offsets have gaps, as compaction and transaction markers leave them."""
    values: dict[str | None, bytes | None] = {
        None: None,
        "bad": BAD,
        **{d: person(residence_division=d) for d in ("410212", "410202")},
    }
    return [
        SourceRecord(3 * number, b"entity-%d" % entity, values[what], NOW)
        for number, (entity, what) in enumerate(changes)
    ]


def load(
    log: Sequence[SourceRecord], route: Route, view: ViewPosition, stops: set[int]
) -> tuple[ViewPosition, list[Delivered], list[bytes]]:
    """Run a load; at each number in `stops` of records taken since the start it dies and is taken up from its state."""
    written: list[Delivered] = []
    keys: list[bytes] = []
    taken = 0
    while True:
        loading = Loading(route, MAILBOX, 0, view)
        for record in log:
            loading.index(record, TODAY)
        loading.begin_delivering()
        open_records: list[tuple[bytes, Delivered]] = []
        died = False
        for record in log:
            if record.offset < loading.next:
                continue
            open_records += [(record.key or b"", one) for one in delivered(loading.take(record, 7, TODAY))]
            taken += 1
            if taken in stops:
                died = True
                break
            if taken % 3 == 0:
                loading.state.commit()
                view = loading.view
                keys += [key for key, _ in open_records]
                written += [one for _, one in open_records]
                open_records = []
        if not died:
            loading.state.commit()
            return loading.view, written + [one for _, one in open_records], keys + [key for key, _ in open_records]


@given(
    changes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["410212", "410202", "bad", None])), max_size=25),
    boundary=st.integers(0, 80),
    rule=st.sampled_from(["", RULE]),
    stops=st.sets(st.integers(1, 60), max_size=4),
)
def test_a_load_that_dies_anywhere_gives_what_stood_and_then_follows_the_log(
    changes: list[tuple[int, str | None]], boundary: int, rule: str, stops: set[int]
) -> None:
    log, route = a_log(changes), a_route(rule)
    began = ViewPosition(begin=boundary, seq=0, position=0, cut=False, joined=False)
    view, written, keys = load(log, route, began, stops)
    schema = grant_view(contract(), granted(rule).grant).schema()
    kinds = [read(schema, one[0])["event_kind"] if one[0] else "null" for one in written]
    assert list(zip(keys, kinds, strict=True)) == the_view(log, boundary, rule)
    assert view == replace(began, seq=len(written), position=log[-1].offset + 1 if log else 0)
    numbers = [read(schema, one[0])["bus_seq"] if one[0] else int(dict(one[1] or [])["bus_seq"]) for one in written]
    assert numbers == list(range(1, len(written) + 1))


def test_an_aborted_transaction_of_a_load_is_delivered_again_with_the_same_numbers() -> None:
    log = a_log([(0, "410212"), (1, "410212"), (0, "410202")])
    loading = Loading(a_route(RULE), MAILBOX, 0, ViewPosition(6, 0, 0, False, False))
    for record in log:
        loading.index(record, TODAY)
    loading.begin_delivering()
    first = [delivered(loading.take(record, 7, TODAY)) for record in log]
    loading.abort()
    assert loading.next == 0
    assert [delivered(loading.take(record, 7, TODAY)) for record in log] == first
