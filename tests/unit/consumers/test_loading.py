"""A first load delivers what stood when the view began, then follows the log: at every interruption the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from bianhe.consumers.router.loading import Loading, followed
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route, RoutingPlan, compile_plan
from bianhe.consumers.router.routing import Headers, Quarantine, Routed, SourceRecord, UnknownSchema, route_record
from bianhe.schemas import wire
from bianhe.schemas.records.state import Manifest, ViewPosition
from bianhe.schemas.view import grant_view
from support.first_load import BAD, RULE, the_view
from support.policy_bodies import MAILBOX, OPEN, channel, granted, policy, population
from support.records import contract, person, read

Delivered = tuple[bytes | None, Headers | None]
NOW = 1_795_000_000_000


@cache
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


def recalled(loading: Loading, keys: Sequence[bytes], written: Sequence[Delivered]) -> None:
    """Give a load what its mailbox holds, where it asks for it."""
    if loading.recalls:
        for number, (key, one) in enumerate(zip(keys, written, strict=True)):
            loading.recall(SourceRecord(number, key, one[0], NOW))
        loading.end_recall()


def load(
    log: Sequence[SourceRecord], route: Route, view: ViewPosition, stops: set[int]
) -> tuple[ViewPosition, list[Delivered], list[bytes], list[Manifest]]:
    """Run a load; at each number in `stops` of records taken since the start it dies and is taken up from its state."""
    written: list[Delivered] = []
    keys: list[bytes] = []
    manifests: list[Manifest] = []
    taken = 0
    while True:
        loading = Loading(route, MAILBOX, 0, view)
        if not loading.indexed:
            for record in log:
                loading.index(record)
            loading.begin_delivering()
        recalled(loading, keys, written)
        open_records: list[tuple[bytes, Delivered]] = []
        died = False
        for record in log:
            if record.offset < loading.next:
                continue
            open_records += [(record.key or b"", one) for one in delivered(loading.take(record, 7))]
            taken += 1
            if taken in stops:
                died = True
                break
            if taken % 3 == 0:
                manifests += closed(loading)
                loading.state.commit()
                view = loading.view
                keys += [key for key, _ in open_records]
                written += [one for _, one in open_records]
                open_records = []
        if not died:
            manifests += closed(loading)
            loading.state.commit()
            keys += [key for key, _ in open_records]
            return loading.view, written + [one for _, one in open_records], keys, manifests


def closed(loading: Loading) -> list[Manifest]:
    """The manifest that a transaction ends with, if it does."""
    return [Manifest.decode(note.value) for note in loading.closing_records(7) if note.key.startswith("manifest/")]


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
    view, written, keys, manifests = load(log, route, began, stops)
    schema = grant_view(contract(), granted(rule).grant).schema()
    kinds = [read(schema, one[0])["event_kind"] if one[0] else "null" for one in written]
    assert list(zip(keys, kinds, strict=True)) == the_view(log, boundary, rule)
    position = log[-1].offset + 1 if log else 0
    stood = the_view([record for record in log if record.offset < boundary], boundary, "")
    first = [kind for kind in kinds if kind == "SNAPSHOT"]
    if 0 < boundary <= position:
        assert manifests == [Manifest(granted(rule).digest, boundary, len(stood), len(first), 7)]
    else:
        assert manifests == []
    assert view == replace(began, seq=len(written), position=position)
    numbers = [read(schema, one[0])["bus_seq"] if one[0] else int(dict(one[1] or [])["bus_seq"]) for one in written]
    assert numbers == list(range(1, len(written) + 1))


def test_an_aborted_transaction_of_a_load_is_delivered_again_with_the_same_numbers() -> None:
    log = a_log([(0, "410212"), (1, "410212"), (0, "410202")])
    loading = Loading(a_route(RULE), MAILBOX, 0, ViewPosition(6, 0, 0, False, False))
    for record in log:
        loading.index(record)
    loading.begin_delivering()
    first = [delivered(loading.take(record, 7)) for record in log]
    loading.abort()
    assert loading.next == 0
    assert [delivered(loading.take(record, 7)) for record in log] == first


def test_what_stood_and_comes_to_stand_otherwise_under_a_late_schema_is_retracted_without_a_gap() -> None:
    """An entity was delivered, the load is taken up anew, and its last record can be read by now: it is not let in."""
    late = population().model_copy(update={"schema_id": 200})
    plan = compile_plan(policy(population(), channel(), granted(RULE), late), None)
    loading = Loading(plan.routes["source.population.v1"], MAILBOX, 0, ViewPosition(9, 1, 1, False, False))
    log = [
        SourceRecord(0, b"a", person(residence_division="410212"), NOW),
        SourceRecord(1, b"a", person(schema_id=200, residence_division="410202"), NOW),
        SourceRecord(2, b"b", person(residence_division="410212"), NOW),
    ]
    for record in log:
        loading.index(record)
    loading.begin_delivering()
    recalled(loading, [b"a"], [(log[0].value, None)])
    [(_, retracted), (snapshot, _)] = [one for record in log[1:] for one in delivered(loading.take(record, 7))]
    assert dict(retracted or [])["bus_seq"] == b"2"
    assert read(grant_view(contract(), granted(RULE).grant).schema(), snapshot or b"")["bus_seq"] == 3


# Without bad ones: compaction keeps the last record of a key even if it is bad.
CHANGES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["410212", "410202", None])), max_size=25)


@settings(deadline=None)
@given(changes=CHANGES, halt=st.integers(0, 25), rule=st.sampled_from(["", RULE]), compacts=st.booleans())
def test_a_view_that_stood_still_goes_on_as_if_it_never_had(
    changes: list[tuple[int, str | None]], halt: int, rule: str, compacts: bool
) -> None:
    log, route = a_log(changes), a_route(rule)
    flowing, halted = (PartitionState(route.source, 0, 0) for _ in range(2))
    for state in (flowing, halted):
        state.aim(route)
    never = route_all(flowing, log)
    before = route_all(halted, log[:halt])
    halted.aim(suspending(route))
    assert not halted.views[MAILBOX].joined
    assert MAILBOX not in halted.topics
    halted.commit()
    view = halted.views[MAILBOX]
    # Compaction forgets what was superseded while it stood still.
    rest = [
        one for one in log if not compacts or one.key not in {later.key for later in log if later.offset > one.offset}
    ]
    loading = Loading(route, MAILBOX, 0, view)
    recalled(loading, [key for key, _ in before], [one for _, one in before])
    after = [
        (record.key or b"", one)
        for record in rest
        if record.offset >= loading.next
        for one in delivered(loading.take(record, 7))
    ]
    if compacts:
        assert table(before + after) == table(never)
    else:
        assert before + after == never


def test_a_load_that_stood_still_goes_on_where_its_view_stands_and_not_where_it_was_remembered() -> None:
    route, source = a_route(""), ("source.population.v1", 0)
    view = ViewPosition(begin=0, seq=4, position=5, cut=False, joined=False)
    state = PartitionState(*source, 9, {MAILBOX: view, OPEN: replace(view, joined=True)})
    plan, stopped = RoutingPlan(7, {route.source: route}), RoutingPlan(8, {route.source: suspending(route)})
    begun = followed({}, plan, {source: state})
    assert followed(begun, plan, {source: state}) == begun
    assert followed(begun, stopped, {source: state}) == {}
    state.loaded(MAILBOX, replace(view, seq=6, position=7))
    (again,) = followed(begun, plan, {source: state}).values()
    assert (again.next, again.view.seq) == (7, 6)


def route_all(state: PartitionState, log: Sequence[SourceRecord]) -> list[tuple[bytes, Delivered]]:
    """What the live flow writes to the mailbox, record by record, committed each time."""
    found: list[tuple[bytes, Delivered]] = []
    for record in log:
        try:
            routed = route_record(record, state, 7)
        except (Quarantine, UnknownSchema, wire.Malformed):
            routed = Routed([])
        values = [value for topic, value in zip(state.topics, routed.values, strict=False) if topic == MAILBOX]
        nulls = [headers for topic, headers in routed.nulls if topic == MAILBOX]
        found += [(record.key or b"", (value, None)) for value in values if value]
        found += [(record.key or b"", (None, headers)) for headers in nulls]
        state.position = record.offset + 1
        state.commit()
    return found


def suspending(route: Route) -> Route:
    """The route under a policy that suspends the mailbox's grant."""
    live = tuple(each for each in route.deliveries if each.topic != MAILBOX)
    return replace(route, deliveries=live, still=frozenset({MAILBOX}))


def table(written: Sequence[tuple[bytes, Delivered]]) -> dict[bytes, str]:
    """What a subscriber holds: the kind of view each entity is in, without the numbers of its deliveries."""
    held: dict[bytes, str] = {}
    for key, (value, _) in written:
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value[-20:].hex()
    return held
