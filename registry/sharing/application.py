"""An application for sharing (共享申请) and what becomes of it. Pure: the same facts give the same answer.

submitted → granted | refused; an application for unconditional items under standing consent is granted at once.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final

from bianhe.registry.catalog.entry import Catalog, CatalogItem, Resource
from bianhe.registry.clocks.working_days import CONDITIONAL_DAYS, UNCONDITIONAL_DAYS, Calendar, due
from bianhe.schemas.contract import Contract, Sharing
from bianhe.schemas.errors import Fault, Rejected
from bianhe.schemas.grant import CITY_TIME, TERM_MAX, Condition, Frozen, Grant, Mask
from bianhe.schemas.view import grant_faults

STANDING_CONSENT: Final = "standing-consent"
"""Who decides where the provider has consented beforehand (预先同意)."""
STATEMENTS_MAX: Final = 500


class State(StrEnum):
    SUBMITTED = "submitted"
    GRANTED = "granted"
    REFUSED = "refused"


class Request(Frozen):
    """What a department asks for, as it wrote it (809 article 20); nothing is checked yet.

    `row_rule` narrows the scope to the entities that the department needs.
    """

    department: str
    resource: str
    items: tuple[str, ...]
    purpose: str
    basis: str
    scenario: str
    scope: str
    until: date
    row_rule: tuple[Condition, ...] = ()
    changes: str = ""
    """Number of the grant that the one asked for takes the place of."""
    declared: bool = False
    """That all of it is true and that the head of the sharing office approves."""


class Application(Frozen):
    """A request with its number, time limit and answer. `due` is None once it is answered."""

    number: str
    request: Request
    version: int
    submitted_at: datetime
    state: State = State.SUBMITTED
    due: date | None = None
    due_provisional: bool = False
    decided_at: datetime | None = None
    decided_by: str = ""
    reason: str = ""
    grant: str | None = None


class InvalidApplication(Rejected):
    """An application that cannot be taken; every fault is named at once (809 article 21)."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            f"the application has {len(faults)} fault{'s' * (len(faults) > 1)}, nothing was submitted",
            cause="\n".join(map(str, faults)),
            cure=_cures(faults),
        )
        self.faults = faults


class Withheld(Rejected):
    """An application for an item that is not shared (article 11); the way out is article 15."""


class AlreadyDecided(Rejected):
    """An application is answered once."""


class InvalidDecision(Rejected):
    """A decision that no grant can carry, or a refusal without a reason."""


def submit(request: Request, catalog: Catalog, contract: Contract, number: str, at: datetime) -> Application:
    """Take an application; raises Withheld, or InvalidApplication with every fault.

    `contract` is the present one of the resource, which the catalog must know; `at` is the time of submission.
    """
    resource = catalog.resource[request.resource]
    refuse_withheld(request, catalog, resource)
    today = at.astimezone(CITY_TIME).date()
    faults = [*_formal_faults(request, catalog, today), *_scope_faults(request, resource)]
    if faults := [*faults, *grant_faults(contract, request.items, (), request.row_rule)]:
        raise InvalidApplication(faults)
    return Application(number=number, request=request, version=contract.version, submitted_at=at)


def unconditional(request: Request, contract: Contract) -> bool:
    """Whether every item asked for is unconditional."""
    return all(contract.by_name[name].sharing is Sharing.UNCONDITIONAL for name in request.items)


def days_to_answer(request: Request, contract: Contract) -> int:
    """Working days within which the provider must answer (809 articles 20 and 21)."""
    return UNCONDITIONAL_DAYS if unconditional(request, contract) else CONDITIONAL_DAYS


def with_due_date(application: Application, contract: Contract, calendar: Calendar) -> Application:
    """The application with the day by which the provider must answer."""
    days = days_to_answer(application.request, contract)
    limit = due(application.submitted_at.astimezone(CITY_TIME).date(), days, calendar)
    return application.model_copy(update={"due": limit.day, "due_provisional": limit.provisional})


def agree(
    application: Application, masks: tuple[Mask, ...], row_rule: tuple[Condition, ...], contract: Contract, number: str
) -> Grant:
    """The grant that an agreement gives; raises InvalidDecision with every fault, AlreadyDecided.

    The row rule of the decision comes on top of the one that was asked for: a decision narrows, it never widens.
    """
    _undecided(application)
    request = application.request
    both = tuple(dict.fromkeys((*request.row_rule, *row_rule)))
    if faults := [*_term_faults(request.until), *grant_faults(contract, request.items, masks, both)]:
        raise InvalidDecision(
            f"{application.number} cannot be granted so",
            cause="\n".join(map(str, faults)),
            cure=_cures(faults) or "decide again",
        )
    return Grant(
        number=number,
        department=request.department,
        resource=request.resource,
        version=application.version,
        items=contract.in_order(frozenset(request.items)),
        masks=masks,
        row_rule=both,
        purpose=request.purpose,
        basis=request.basis,
        scenario=request.scenario,
        scope=request.scope,
        until=request.until,
    )


def narrows(before: Grant, after: Grant) -> bool:
    """Whether something that one grant lets through is kept back, or masked otherwise, by the one in its place."""
    masks = {mask.item: mask for mask in before.masks}
    return (
        not {*before.items} <= {*after.items}
        or any(mask.item in before.items and masks.get(mask.item) != mask for mask in after.masks)
        or not {*after.row_rule} <= {*before.row_rule}
    )


def granted(application: Application, grant: Grant, by: str, at: datetime) -> Application:
    """The application after an agreement."""
    _undecided(application)
    answer = {"state": State.GRANTED, "grant": grant.number, "decided_by": by, "decided_at": at, "due": None}
    return application.model_copy(update=answer)


def refused(application: Application, reason: str, by: str, at: datetime) -> Application:
    """The application after a refusal, which states its reason (article 15); raises InvalidDecision without one."""
    _undecided(application)
    if not reason.strip():
        raise InvalidDecision("a refusal states its reason (article 15)", cure="give one: --reason")
    answer = {"state": State.REFUSED, "reason": reason.strip(), "decided_by": by, "decided_at": at, "due": None}
    return application.model_copy(update=answer)


def way_out(catalog: Catalog, resource: Resource) -> str:
    """The way of article 15 to what a provider does not share."""
    provider, authority = catalog.title(resource.provider), catalog.title(catalog.authority)
    return f"因履行职责确需使用的,请与{provider}协商;协商未果的,由{authority}协调解决(第十五条)"


def refuse_withheld(request: Request, catalog: Catalog, resource: Resource) -> None:
    """Raise Withheld if an item asked for is withheld, with its basis and the way of article 15."""
    withheld = [
        item
        for name in request.items
        if (item := resource.by_name.get(name)) is not None and item.sharing is Sharing.WITHHELD
    ]
    if withheld:
        raise Withheld(
            f"{resource.title}: {'、'.join(f'{item.title} {item.name}' for item in withheld)} 不予共享",
            cause="\n".join(f"{item.title}: {item.basis}" for item in withheld),
            cure=way_out(catalog, resource),
        )


def _cures(faults: list[Fault]) -> str:
    """What helps, each thing once."""
    return "\n".join(dict.fromkeys(fault.cure for fault in faults if fault.cure))


def _undecided(application: Application) -> None:
    if application.state is not State.SUBMITTED:
        raise AlreadyDecided(f"{application.number} is {application.state} already")


def _formal_faults(request: Request, catalog: Catalog, today: date) -> list[Fault]:
    faults = []
    if request.department not in catalog.department:
        faults.append(Fault("department", "第三条", f"{request.department!r} is no department of the catalog"))
    if request.department == catalog.resource[request.resource].provider:
        faults.append(Fault("department", "第十五条", f"{request.department} is the provider itself"))
    for name in ("basis", "scenario", "scope"):
        text = getattr(request, name).strip()
        if not text:
            faults.append(Fault(name, "809 第二十条", "is missing", cure=f"state it: --{name}"))
        elif len(text) > STATEMENTS_MAX:
            faults.append(Fault(name, "809 第二十条", f"{len(text)} characters, at most {STATEMENTS_MAX}"))
    if request.purpose not in catalog.purposes:
        message = f"{request.purpose or 'nothing'} is no purpose of the catalog"
        faults.append(Fault("purpose", "第十四条", message, cure=f"one of {', '.join(catalog.purposes)}"))
    if request.until < today:
        faults.append(Fault("until", "809 第二十条", f"{request.until} is in the past", cure="a later day: --until"))
    faults.extend(_term_faults(request.until))
    if not request.declared:
        message = "the declaration that all of this is true is missing"
        faults.append(Fault("declaration", "809 第二十条", message, cure="declare it: --declare"))
    return faults


def _term_faults(until: date) -> list[Fault]:
    if until <= TERM_MAX:
        return []
    return [Fault("until", "809 第二十条", f"{until} is after {TERM_MAX}", cure="an earlier day: --until")]


def _scope_faults(request: Request, resource: Resource) -> list[Fault]:
    return [
        Fault(item.name, "809 第十五条", f"the catalog shares {item.title} with {', '.join(item.scope)} only")
        for item in map(resource.by_name.get, request.items)
        if isinstance(item, CatalogItem) and item.scope and request.department not in item.scope
    ]
