"""Applications, decisions and grants in the database. A use case is one transaction, its policy bodies included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from bianhe.registry.catalog.sql import contract_of, load, present_channel, resource_of
from bianhe.registry.clocks.sql import calendar
from bianhe.registry.contracts.sql import bind, schema_id
from bianhe.registry.policy.sql import append, changes, decided, number_of
from bianhe.registry.sharing import application as rules
from bianhe.registry.sharing.application import STANDING_CONSENT, Application, Request, State
from bianhe.registry.sharing.compile import compile_grant
from bianhe.registry.sharing.grant import GrantRow, check_change, check_end
from bianhe.registry.sharing.grounds import ground as known_ground
from bianhe.registry.sharing.letter import agreement, refusal
from bianhe.registry.sql import Instant, deciding, metadata, transaction
from bianhe.schemas import names
from bianhe.schemas.contract import Contract
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import CITY_TIME, Condition, Grant, Mask
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.policy import Change, Closed, Granted, Revoked, Suspended

application_table: Final = Table(
    "application",
    metadata,
    Column("number", String(20), primary_key=True),
    Column("request", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("submitted_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("due", Date, nullable=True),
    Column("due_provisional", Boolean, nullable=False),
    Column("decided_at", Instant, nullable=True),
    Column("decided_by", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Column("grant", String(20), nullable=True, unique=True),
    Column("letter", Text, nullable=False),
)
"""`letter` is the answer as it was sent, empty before."""

grant_table: Final = Table(
    "grant",
    metadata,
    Column("number", String(20), primary_key=True),
    Column("application", ForeignKey("application.number"), nullable=False, unique=True),
    Column("department", ForeignKey("department.code"), nullable=False),
    Column("resource", ForeignKey("resource.code"), nullable=False),
    Column("body", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("topic", String(200), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("outbox_id", ForeignKey("outbox.id"), nullable=False),
    Column("ground", String(40), nullable=True),
    Column("revoked_by", String(100), nullable=True),
    Column("revoked_at", Instant, nullable=True),
)
"""A grant's state is not kept: the outbox says whether its end was decided, and whether it took effect."""


class Unknown(Rejected):
    """There is no application or grant of this number."""


CHANGED: Final = "changed"

_STATES: Final = {
    "suspended": GrantState.SUSPENDED,
    "resumed": GrantState.ACTIVE,
    "revoked": GrantState.REVOKING,
    "effective": GrantState.EFFECTIVE,
    "closed": GrantState.CLOSED,
}


def submit(engine: Engine, request: Request, at: datetime) -> Application:
    """Take an application; under standing consent an unconditional one comes back granted.

    Raises InvalidApplication with every fault, Withheld, CannotChange, NoCatalog; then no number is used up.
    """
    with deciding(engine) as connection:
        catalog = load(connection)
        resource = resource_of(catalog, request.resource)
        contract = contract_of(connection, resource.code, resource.version)
        number = _next_application(connection, at)
        taken = rules.submit(request, catalog, contract, number, at)
        at_once = resource.standing_consent and rules.unconditional(request, contract)
        if request.changes:
            _changed(connection, request)
        waiting = rules.with_due_date(taken, contract, calendar(connection))
        connection.execute(insert(application_table).values(**_row(waiting), letter=""))
        return _grant(connection, waiting, contract, (), (), STANDING_CONSENT, at) if at_once else waiting


def agree(
    engine: Engine, number: str, masks: tuple[Mask, ...], row_rule: tuple[Condition, ...], by: str, at: datetime
) -> GrantRow:
    """Grant an application, with masks and a row rule on top of what was asked.

    Raises Unknown, AlreadyDecided, InvalidDecision with every fault.
    """
    with deciding(engine) as connection:
        application = _application(connection, number)
        contract = contract_of(connection, application.request.resource, application.version)
        answered = _grant(connection, application, contract, masks, row_rule, by, at)
        assert answered.grant is not None
        return grant_row(connection, answered.grant)


def refuse(engine: Engine, number: str, reason: str, by: str, at: datetime) -> Application:
    """Refuse an application with a reason; raises Unknown, AlreadyDecided, InvalidDecision."""
    with deciding(engine) as connection:
        answered = rules.refused(_application(connection, number), reason, by, at)
        _keep(connection, answered, refusal(answered, load(connection)))
        return answered


def applications(engine: Engine, state: State | None = None) -> list[Application]:
    """All applications, or those in one state, in the order of their numbers."""
    query = select(application_table).order_by(application_table.c.submitted_at, application_table.c.number)
    if state is not None:
        query = query.where(application_table.c.state == state)
    with transaction(engine) as connection:
        return [_read(row) for row in connection.execute(query)]


def application(engine: Engine, number: str) -> Application:
    """One application; raises Unknown."""
    with transaction(engine) as connection:
        return _application(connection, number)


def provider_of(engine: Engine, number: str) -> str:
    """The department that answers an application; raises Unknown."""
    with transaction(engine) as connection:
        return load(connection).resource[_application(connection, number).request.resource].provider


def grants(engine: Engine, department: str | None = None, resource: str | None = None) -> list[GrantRow]:
    """All grants, or those of a department or on a resource, in the order of their numbers."""
    query = select(grant_table.c.number).order_by(grant_table.c.decided_at, grant_table.c.number)
    if department is not None:
        query = query.where(grant_table.c.department == department)
    if resource is not None:
        query = query.where(grant_table.c.resource == resource)
    with transaction(engine) as connection:
        standings = standings_of(connection)
        return [grant_row(connection, row.number, standings) for row in connection.execute(query).all()]


def grant(engine: Engine, number: str) -> GrantRow:
    """One grant; raises Unknown."""
    with transaction(engine) as connection:
        return grant_row(connection, number)


def letter(engine: Engine, number: str) -> str:
    """The letter that answered an application, by its number or that of its grant; raises Unknown."""
    column = application_table.c.grant if number.startswith("G-") else application_table.c.number
    with transaction(engine) as connection:
        text = connection.execute(select(application_table.c.letter).where(column == number)).scalar()
    if not text:
        raise Unknown(f"there is no letter for {number}", cure="bianhe application list shows what is answered")
    return str(text)


def revoke(engine: Engine, number: str, ground: str, by: str, at: datetime, *, withdraw: bool = False) -> GrantRow:
    """Begin the end of a grant: its record goes onto the policy log, `registry.revocation` does the rest.

    With `withdraw` what was delivered is deleted too. Raises Unknown, UnknownGround, NothingToWithdraw,
    NotOverdue. A grant that is being revoked already stays as it is.
    """
    reason = known_ground(ground)
    with deciding(engine) as connection:
        row = grant_row(connection, number)
        check_end(row, reason.code, at, withdraw=withdraw)
        if not row.state.ended:
            end(connection, Revoked(grant=number, ground=reason.code, decided_by=by, withdraw=withdraw), at)
        return grant_row(connection, number)


def end(connection: Connection, body: Revoked, at: datetime) -> None:
    """Put the end of a grant into the outbox, and into its row where there is one."""
    append(connection, [body], at)
    change = {"ground": body.ground, "revoked_by": body.decided_by, "revoked_at": at}
    connection.execute(update(grant_table).where(grant_table.c.number == body.grant).values(change))


def recompute_deadlines(connection: Connection) -> None:
    """Count provisional time limits again, after the calendar has learnt a year."""
    query = select(application_table).where(
        application_table.c.due_provisional, application_table.c.state == State.SUBMITTED
    )
    for row in connection.execute(query).all():
        waiting = _read(row)
        contract = contract_of(connection, waiting.request.resource, waiting.version)
        again = rules.with_due_date(waiting, contract, calendar(connection))
        _keep(connection, again, "")


def _grant(
    connection: Connection,
    waiting: Application,
    contract: Contract,
    masks: tuple[Mask, ...],
    row_rule: tuple[Condition, ...],
    by: str,
    at: datetime,
) -> Application:
    """Make the grant, put it into the outbox with its schema, and answer the application with the letter.

    A view never changes: where the grant takes another's place, that one ends by the protocol, and is stopped before
    this one begins if it let anything through that this one does not.
    """
    given = rules.agree(waiting, masks, row_rule, contract, _next_grant(connection, at))
    answered = rules.granted(waiting, given, by, at)
    channel = present_channel(connection, given.resource, given.version)
    delivery = compile_grant(given, contract, channel)
    id = schema_id(connection, delivery.schema)
    schema = "" if delivery.topic == channel else delivery.schema
    body = Granted(
        application=waiting.number,
        grant=given,
        digest=given.digest,
        topic=delivery.topic,
        schema_id=id,
        view_schema=schema,
    )
    changed = _changed(connection, waiting.request) if waiting.request.changes else None
    narrows = changed is not None and rules.narrows(changed.grant, given)
    [outbox_id] = append(connection, [body], at, after=changed.grant.number if changed and narrows else None)
    if changed is not None:
        reason = known_ground(CHANGED, "change")
        end(connection, Revoked(grant=changed.grant.number, ground=reason.code, decided_by=by), at)
    bind(connection, names.value_subject(delivery.topic), id, outbox_id)
    connection.execute(
        insert(grant_table).values(
            number=given.number,
            application=waiting.number,
            department=given.department,
            resource=given.resource,
            body=given.model_dump(mode="json"),
            digest=given.digest,
            topic=delivery.topic,
            decided_at=at,
            outbox_id=outbox_id,
        )
    )
    _keep(connection, answered, agreement(answered, given, delivery.view, delivery.topic, load(connection)))
    return answered


def _changed(connection: Connection, request: Request) -> GrantRow:
    """The grant that another takes the place of; raises Unknown, CannotChange."""
    row = grant_row(connection, request.changes)
    check_change(row, request)
    return row


def _next_application(connection: Connection, at: datetime) -> str:
    kept = connection.execute(select(application_table.c.number)).scalars()
    return _next("A", at, [*kept, *(each.application for each in _learnt(connection))])


def _next_grant(connection: Connection, at: datetime) -> str:
    kept = connection.execute(select(grant_table.c.number)).scalars()
    return _next("G", at, [*kept, *(each.grant.number for each in _learnt(connection))])


def _learnt(connection: Connection) -> list[Granted]:
    """What a restored backup knows from the policy log alone: those numbers too are taken."""
    return decided(connection, Granted, besides=select(grant_table.c.outbox_id))


def _next(letter: str, at: datetime, taken: Iterable[str]) -> str:
    """The next number of the year."""
    prefix = f"{letter}-{at.astimezone(CITY_TIME).year}-"
    last = max((int(number.removeprefix(prefix)) for number in taken if number.startswith(prefix)), default=0)
    return f"{prefix}{last + 1:04}"


def _row(application: Application) -> dict[str, Any]:
    return {
        **application.model_dump(exclude={"request"}),
        "request": application.request.model_dump(mode="json"),
    }


def _read(row: Row[Any]) -> Application:
    return Application.model_validate({name: getattr(row, name) for name in Application.model_fields})


def _keep(connection: Connection, answered: Application, letter: str) -> None:
    query = update(application_table).where(application_table.c.number == answered.number)
    connection.execute(query.values(**_row(answered), letter=letter))


def _application(connection: Connection, number: str) -> Application:
    query = select(application_table).where(application_table.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        raise Unknown(f"there is no application {number}", cure="bianhe application list shows them")
    return _read(row)


def standings_of(connection: Connection) -> dict[str, Change]:
    """What was decided of each grant last, since it was given."""
    return {body.receipt.grant if isinstance(body, Closed) else body.grant: body for body in changes(connection)}


def grant_row(connection: Connection, number: str, standings: Mapping[str, Change] | None = None) -> GrantRow:
    """One grant within the caller's transaction; raises Unknown."""
    row = connection.execute(select(grant_table).where(grant_table.c.number == number)).first()
    if row is None:
        raise Unknown(f"there is no grant {number}", cure="bianhe grant list shows them")
    last = (standings_of(connection) if standings is None else standings).get(number)
    return GrantRow(
        grant=Grant.model_validate(row.body),
        application=row.application,
        digest=row.digest,
        topic=row.topic,
        state=_STATES[last.kind] if last else GrantState.ACTIVE,
        decided_at=row.decided_at,
        policy=number_of(connection, row.outbox_id),
        ground=row.ground,
        revoked_at=row.revoked_at,
        suspension=last if isinstance(last, Suspended) else None,
    )
