"""The applications of the sample city and their answers, submitted and decided as departments would."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from sqlalchemy import Engine

from bianhe.registry.catalog.entry import Catalog
from bianhe.registry.catalog.sql import show
from bianhe.registry.sharing import sql
from bianhe.registry.sharing.application import Application, Request, State, Withheld
from bianhe.registry.sharing.grant import GrantRow
from bianhe.schemas.errors import Fatal
from bianhe.schemas.grant import Frozen, Mask, parse_row_rule


class Decision(Frozen):
    """How the provider answers a conditional application."""

    agree: bool
    masks: tuple[str, ...] = ()
    where: str = ""
    reason: str = ""


class Planned(Frozen):
    """An application of `sharing.toml`, and the answer it gets; `withheld` ones are refused before they are taken."""

    department: str
    resource: str
    items: Literal["unconditional"] | tuple[str, ...]
    also: tuple[str, ...] = ()
    purpose: str
    basis: str
    scenario: str
    scope: str
    where: str = ""
    decision: Decision | None = None
    withheld: bool = False


class Plan(Frozen):
    """`sharing.toml`: all applications, with one term."""

    until: date
    application: tuple[Planned, ...]


class OtherAnswer(Fatal):
    """The registry answered an application otherwise than the sample says."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the replay gave: grants, refusals, and applications that were not taken because an item is withheld."""

    grants: tuple[GrantRow, ...]
    refusals: tuple[Application, ...]
    withheld: tuple[Withheld, ...]


def read_plan(text: str) -> Plan:
    """Read `sharing.toml`."""
    return Plan.model_validate(tomllib.loads(text))


def replay(engine: Engine, plan: Plan, at: datetime) -> Answers:
    """Submit and decide every application; raises OtherAnswer where the registry does not answer as planned."""
    catalog = show(engine)
    grants, refusals, withheld = [], [], []
    for planned in plan.application:
        try:
            answered = _answer(engine, planned, _request(planned, catalog, plan.until), at)
        except Withheld as refusal:
            if not planned.withheld:
                raise
            withheld.append(refusal)
            continue
        if planned.withheld:
            raise OtherAnswer(f"{answered.number} asks for a withheld item and was taken")
        if answered.grant is None:
            refusals.append(answered)
        else:
            grants.append(sql.grant(engine, answered.grant))
    return Answers(tuple(grants), tuple(refusals), tuple(withheld))


def _request(planned: Planned, catalog: Catalog, until: date) -> Request:
    items = catalog.resource[planned.resource].unconditional if planned.items == "unconditional" else planned.items
    return Request(
        department=planned.department,
        resource=planned.resource,
        items=(*items, *planned.also),
        purpose=planned.purpose,
        basis=planned.basis,
        scenario=planned.scenario,
        scope=planned.scope,
        until=until,
        row_rule=parse_row_rule(planned.where) if planned.where else (),
        declared=True,
    )


def _answer(engine: Engine, planned: Planned, request: Request, at: datetime) -> Application:
    submitted = sql.submit(engine, request, at)
    decision = planned.decision
    if (decision is None) != (submitted.state is State.GRANTED):
        raise OtherAnswer(f"{submitted.number} of {request.department} on {request.resource} is {submitted.state}")
    if decision is None:
        return submitted
    by = show(engine).resource[request.resource].provider
    if not decision.agree:
        return sql.refuse(engine, submitted.number, decision.reason, by, at)
    masks = tuple(map(Mask.parse, decision.masks))
    row_rule = parse_row_rule(decision.where) if decision.where else ()
    sql.agree(engine, submitted.number, masks, row_rule, by, at)
    return sql.application(engine, submitted.number)
