"""A view never changes: neither may a later revision of the contract reorder it, nor stop its mailbox."""

import json
from typing import Any

from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import compile_plan
from bianhe.consumers.router.routing import SourceRecord, route_record
from bianhe.schemas.compatibility import revision_faults
from bianhe.schemas.contract import Contract, Sharing, shipped
from bianhe.schemas.records.policy import Resource
from bianhe.schemas.wire import frame
from support.policy_bodies import MAILBOX, channel, granted, policy, population
from support.records import PERSON, body, read


def revised(change: Any) -> tuple[Contract, Resource]:
    schema = json.loads(shipped("population", 1))
    change(schema["fields"])
    text = json.dumps(schema)
    return Contract.parse(text), population().model_copy(update={"schema_id": 200, "contract": text})


def test_a_revision_that_reorders_items_is_refused() -> None:
    def swap(fields: list[Any]) -> None:
        fields[4], fields[5] = fields[5], fields[4]

    contract, _ = revised(swap)
    assert [fault.rule for fault in revision_faults(Contract.parse(shipped("population", 1)), contract)] == [
        "revision-order"
    ]


def test_a_mailbox_goes_on_where_a_revision_makes_the_open_channel_carry_the_same_items() -> None:
    before = Contract.parse(shipped("population", 1))
    last = next(item.name for item in before.items if item.sharing is Sharing.CONDITIONAL)
    mailbox = granted()
    grant = mailbox.grant.model_copy(update={"items": before.in_order(frozenset({*before.unconditional, last}))})
    mailbox = mailbox.model_copy(update={"grant": grant, "digest": grant.digest})

    def free(fields: list[Any]) -> None:
        next(field for field in fields if field["name"] == last)["sharing"] = "unconditional"

    contract, resource = revised(free)
    assert revision_faults(before, contract) == []
    assert contract.unconditional == grant.items
    route = compile_plan(policy(population(), channel(), mailbox, resource), None).routes["source.population.v1"]
    assert MAILBOX in [delivery.topic for delivery in route.deliveries]


def test_the_open_channel_keeps_its_items_until_the_log_opens_a_new_one() -> None:
    def free(fields: list[Any]) -> None:
        fields[-1]["sharing"] = "unconditional"

    contract, resource = revised(free)
    route = compile_plan(policy(population(), channel(), resource), None).routes["source.population.v1"]
    state = PartitionState(route.source, 0, committed=0)
    state.aim(route)
    value = frame(200, body({**PERSON, "contact_phone": "0371-00000000"}, dict(contract.schema)))
    [delivery] = route_record(SourceRecord(0, b"k", value, 0), state, 7).values
    delivered = read(json.loads(channel().view_schema), delivery or b"")
    assert "contact_phone" not in delivered
