"""The demo claims success only where every number is what the recount expects."""

from __future__ import annotations

from copy import deepcopy

import pytest

from bianhe.infra.demo.attempts import NO_REFUSAL, TOPIC_REFUSED, Answer
from bianhe.infra.demo.drift import Drift
from bianhe.infra.demo.recount import Answer as Agreed
from bianhe.infra.demo.recount import Recount, Tally
from bianhe.infra.demo.story import Flow, compare
from bianhe.infra.demo.tasks import Published, Reading

OPEN, MAILBOX = "open.person.v1.r1", "grant.xiangfu.person.v1.g-2026-0002"
GRANTS = {"tax": ["G-2026-0001"], "xiangfu": ["G-2026-0002"]}
RULE = "Rule"


def flow() -> Flow:
    """Three events, of which the second is outside of the row rule of 祥符区, routed and received as they should be."""
    items = [{"name": "code", "sharing": "unconditional"}, {"name": "division", "sharing": "unconditional"}]
    resource = {"code": "person", "version": 1, "partitions": 2, "items": items}
    event = ("event_id", "event_kind", "event_time", "event_case")
    contract = {
        "key": {"items": ["code"], "derivation": "natural"},
        "fields": [{"name": name, "type": "string"} for name in (*event, "code", "division")],
    }
    answers = [
        Agreed("G-2026-0001", "tax", "person", ("code", "division")),
        Agreed("G-2026-0002", "xiangfu", "person", ("code",), (), "division = 410212"),
    ]
    recount = Recount(resource, contract, answers)
    for number, division in enumerate(("410212", "410202", "410212")):
        values = (str(number), "CREATED", "2026-11-20T08:30:00+08:00", "", f"A{number}", division)
        recount.take(dict(zip((*event, "code", "division"), values, strict=True)))
    received = deepcopy(dict(recount.topics))
    return Flow(
        published=[Published("person", 3, 3, 0)],
        recounts={"person": recount},
        readings={
            "tax": Reading("tax", {OPEN: received[OPEN]}),
            "xiangfu": Reading("xiangfu", {MAILBOX: received[MAILBOX]}),
        },
        routed=3,
        written={OPEN: 3, MAILBOX: 2},
        kept_back={OPEN: 0, MAILBOX: 1},
    )


def test_what_was_expected_differs_in_nothing() -> None:
    assert compare(flow(), GRANTS, 3) == []


@pytest.mark.parametrize(
    "change",
    [
        {"published": [Published("person", 3, 2, 1)]},
        {"routed": 2},
        {"quarantined": 1},
        {"written": {OPEN: 3, MAILBOX: 3}},
        {"written": {OPEN: 3, MAILBOX: 2, "open.other.v1.r1": 1}},
        {"kept_back": {OPEN: 0, MAILBOX: 0}},
    ],
)
def test_every_number_of_publishing_and_routing_counts(change: dict[str, object]) -> None:
    tampered = flow()
    for name, value in change.items():
        setattr(tampered, name, value)
    assert compare(tampered, GRANTS, 3)


def test_what_a_department_lacks_or_has_too_much_counts() -> None:
    lacking, wrong, foreign = flow(), flow(), flow()
    del lacking.readings["tax"].tallies[OPEN]
    wrong.readings["xiangfu"].tallies[MAILBOX].digests[0] = b"other"
    foreign.readings["tax"].tallies[MAILBOX] = Tally(delivered=1, counts={0: 1}, digests={0: b"stolen"})
    for tampered in (lacking, wrong, foreign):
        assert compare(tampered, GRANTS, 3)


def test_an_attempt_that_is_not_refused_as_it_should_be_is_told() -> None:
    assert Answer("read", OPEN, TOPIC_REFUSED, TOPIC_REFUSED).refused
    for answer in (NO_REFUSAL, "UNKNOWN_TOPIC_OR_PART"):
        assert not Answer("read", OPEN, TOPIC_REFUSED, answer).refused


def test_drift_must_be_found_closed_and_gone() -> None:
    found, closed, after = (3, f"- allow {RULE}  no grant"), (0, "1 to close"), (0, "in sync")
    assert Drift(RULE, found, closed, after).differences == []
    for tampered in ((0, found[1]), (3, "1 to close")):
        assert Drift(RULE, tampered, closed, after).differences
    assert Drift(RULE, found, (3, ""), after).differences
    assert Drift(RULE, found, closed, (3, "")).differences
