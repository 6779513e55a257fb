"""What a grant compiles to on the bus: its view, its topic and the schema of its records. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bianhe.registry.contracts.registration import schema_text
from bianhe.schemas import names
from bianhe.schemas.contract import Contract
from bianhe.schemas.grant import Grant, InvalidGrant
from bianhe.schemas.view import View, grant_view, reads_open_channel


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a grant is delivered and how its records read."""

    view: View
    topic: str
    schema: str


def compile_grant(grant: Grant, contract: Contract, open_topic: str | None) -> Delivery:
    """The delivery of a grant: the open channel if that carries exactly its view, else a mailbox (design 3.4).

    Raises InvalidGrant, also where the contract is another one than the grant names.
    """
    if (contract.resource, contract.version) != (grant.resource, grant.version):
        raise InvalidGrant(f"{grant.number} is on {grant.resource}.v{grant.version}, not on this contract")
    view = grant_view(contract, grant)
    if reads_open_channel(view) and open_topic is not None:
        return Delivery(view, open_topic, schema_text(view.schema()))
    topic = names.mailbox(grant.department, grant.resource, grant.version, grant.number)
    if len(topic) > names.TOPIC_CHARACTERS_MAX:
        raise InvalidGrant(f"the topic name {topic} is longer than {names.TOPIC_CHARACTERS_MAX} characters")
    return Delivery(view, topic, schema_text(view.schema()))
