"""The policy of a large city: grants over 500 departments and 200 resources, nearly all on open channels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from bianhe.infra.bench.city import contract, grant, granted, item_sets
from bianhe.schemas import names
from bianhe.schemas.contract import shipped
from bianhe.schemas.records.policy import Body, Department, OpenChannel, Resource
from bianhe.schemas.view import open_view

DEPARTMENTS: Final = 500
RESOURCES: Final = 200
_FIRST_SCHEMA: Final = 10_000


def policy_bodies(grants: int, mailboxes: int) -> Iterator[Body]:
    """What puts such a city on the policy log; so many of its grants have a mailbox."""
    text = shipped("population", 1)
    view = json.dumps(open_view(contract()).schema(), ensure_ascii=False)
    for number in range(DEPARTMENTS):
        yield Department(code=_department(number), title="模拟")
    for number in range(RESOURCES):
        yield Resource(
            code=_resource(number),
            provider=_department(0),
            version=1,
            partitions=1,
            erasure_days=30,
            schema_id=_FIRST_SCHEMA + number,
            contract=text,
        )
        yield OpenChannel(
            resource=_resource(number),
            version=1,
            revision=1,
            topic=_channel(number),
            schema_id=_FIRST_SCHEMA + RESOURCES + number,
            view_schema=view,
        )
    for number in range(grants):
        resource, department = number % RESOURCES, _department(number // RESOURCES % DEPARTMENTS)
        has_mailbox = number < mailboxes
        items = item_sets()[number % len(item_sets())] if has_mailbox else contract().unconditional
        given = grant(number + 1000, department, _resource(resource), items)
        mailbox = names.mailbox(department, _resource(resource), 1, given.number)
        yield granted(given, mailbox if has_mailbox else _channel(resource))


def topics(mailboxes: int) -> list[str]:
    """The topics that this policy asks for, each with one partition."""
    sources = [names.source_topic(_resource(number), 1) for number in range(RESOURCES)]
    delivery = {body.topic for body in policy_bodies(mailboxes, mailboxes) if body.kind in ("granted", "open-channel")}
    return [*sources, *sorted(delivery)]


def _department(number: int) -> str:
    return f"large{number:03}"


def _resource(number: int) -> str:
    return f"large{number:03}"


def _channel(number: int) -> str:
    return names.open_topic(_resource(number), 1, 1)
