"""`bianhe policy`: the numbered log that decides what may be read, and how far a decision has come onto it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.session import check_login
from bianhe.infra.schema_registry import answers
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.registry.policy.kafka import PolicyLog, Relay, signing_key
from bianhe.schemas import names
from bianhe.schemas.names import ADMIN_ACCOUNT, RELAY_ACCOUNT
from bianhe.schemas.records.policy import (
    Body,
    Closed,
    Department,
    Granted,
    Lifted,
    OpenChannel,
    Ratified,
    Released,
    Resource,
    Stopped,
    Writers,
)
from bianhe.schemas.signatures import Role

app = typer.Typer(help="The policy log: the one order of all decisions.", no_args_is_help=True)
_WAIT_SECONDS: Final = 10.0
_COLUMNS: Final = ("number", "decided", "kind", "about", "signed_by")


def reached(number: Callable[[], int | None]) -> str:
    """`policy 318` once the relay has numbered a decision; that it waits, where no registry runs or it takes long."""
    found, deadline = number(), time.monotonic() + _WAIT_SECONDS
    if found is None and not answers(load().registry):
        return "policy: waiting for the relay, which runs with the registry (bianhe up)"
    while found is None:
        if time.monotonic() > deadline:
            return "policy: waiting for the relay (bianhe doctor tells what it waits for)"
        time.sleep(0.05)
        found = number()
    return f"policy {found}"


@app.command()
def log(
    after: Annotated[int, typer.Option(min=0, help="only records after this number")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the policy log and who signed each record; fails where it cannot be believed."""
    admin = component(load().kafka, ADMIN_ACCOUNT)
    check_login(admin)
    with PolicyLog(admin) as policy_log:
        policy = policy_log.catch_up()
        rows = [
            {
                "number": record.number,
                "decided": record.at.isoformat(timespec="seconds"),
                "kind": record.body.kind,
                "about": about(record.body),
                "signed_by": policy_log.keys.signer(record) or "a key that is pinned no more",
            }
            for record in policy_log.records[after:]
        ]
    show(rows, output, columns=_COLUMNS)
    if output is Output.TABLE:
        out.print(f"{policy.version} records, signed, the chain is whole, ends in {policy.head[:12]}")


@app.command()
def restore() -> None:
    """Append again, from the database, what the log lost at its end; with the registry stopped."""
    settings = load()
    account = component(settings.kafka, RELAY_ACCOUNT)
    check_login(account)
    count = Relay(account, engine(settings.database), signing_key(settings.kafka.secrets, Role.RELAY)).restore()
    out.print(f"{count} records appended again" if count else "nothing was lost")


def about(body: Body) -> str:
    """What a record is about, by its names."""
    match body:
        case Writers(transactional_ids=ids):
            return ", ".join(ids)
        case Department(code=code) | Resource(code=code):
            return code
        case Stopped(target=target, code=code) | Ratified(target=target, code=code) | Lifted(target=target, code=code):
            return f"{target} {code}"
        case OpenChannel(topic=topic):
            return topic
        case Released(resource=code, version=version, before=before):
            return f"{names.source_topic(code, version)}/{','.join(before)}"
        case Granted(grant=grant, topic=topic):
            return f"{grant.number} {topic}"
        case Closed(receipt=receipt):
            return receipt.grant
        case _:
            return body.grant
