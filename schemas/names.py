"""Names on the cluster: topics, accounts, groups, transactional ids.

A name says what a thing is and who it is for, so that an access rule can be read without a catalog (law 1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bianhe.schemas.errors import Rejected

POLICY: Final = "bus.policy"
JOURNAL: Final = "bus.journal"
ROUTER_STATE: Final = "bus.router-state"
QUARANTINE: Final = "bus.quarantine"

SOURCE_PREFIX: Final = "source."
OPEN_PREFIX: Final = "open."
GRANT_PREFIX: Final = "grant."
MONITOR_PREFIX: Final = "monitor."
"""Topics that the monitors make and keep for themselves."""
ALERTS: Final = "monitor.alerts"
MANAGED_PREFIXES: Final = (SOURCE_PREFIX, OPEN_PREFIX, GRANT_PREFIX, "bus.")
"""Topics that sync answers for; everything else on the cluster is foreign and left alone."""

ADMIN_ACCOUNT: Final = "bus-admin"
ROUTER_ACCOUNT: Final = "bus-router"
RELAY_ACCOUNT: Final = "bus-relay"
MONITOR_ACCOUNT: Final = "bus-monitor"
BREAK_GLASS_ACCOUNT: Final = "bus-break-glass"
CHECKER_ACCOUNT: Final = "bus-checker"
"""Reads everything, so it can log in only while a check runs."""
BUS_ACCOUNTS: Final = (ADMIN_ACCOUNT, ROUTER_ACCOUNT, RELAY_ACCOUNT, MONITOR_ACCOUNT, BREAK_GLASS_ACCOUNT)

ROUTER_GROUP: Final = "bus.router"
MONITOR_GROUP: Final = "bus.monitor"
RELAY_TRANSACTIONAL_ID: Final = "bus.policy"

TOPIC_CHARACTERS_MAX: Final = 200
_PART = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_CODE = re.compile(rf"(?!bus(?:-|$)){_PART}")
_TOPIC = re.compile(
    rf"source\.(?P<source>{_PART})\.v(?P<source_version>[1-9]\d*)"
    rf"|open\.(?P<open>{_PART})\.v(?P<open_version>[1-9]\d*)\.r(?P<revision>[1-9]\d*)"
    rf"|grant\.(?P<department>{_PART})\.(?P<resource>{_PART})\.v(?P<version>[1-9]\d*)\.(?P<grant>{_PART})"
)


class InvalidName(Rejected):
    """A name that the bus cannot use on the cluster."""


def code(text: str) -> str:
    """Return the code of a department, resource or client if it can be part of a name, else raise InvalidName."""
    if len(text) > 40 or not _CODE.fullmatch(text):
        raise InvalidName(
            f"{text!r} is no code",
            cure="use at most 40 lower-case letters, digits and single '-'; 'bus' and 'bus-…' are taken",
        )
    return text


def source_topic(resource: str, version: int) -> str:
    """The topic that the provider of a resource writes."""
    return f"{SOURCE_PREFIX}{resource}.v{version}"


def open_topic(resource: str, version: int, revision: int) -> str:
    """The open channel of a resource: one view of all its unconditional items."""
    return f"{OPEN_PREFIX}{resource}.v{version}.r{revision}"


def mailbox(department: str, resource: str, version: int, grant: str) -> str:
    """The delivery topic of one grant."""
    return f"{GRANT_PREFIX}{department}.{resource}.v{version}.{grant.lower()}"


def value_subject(topic: str) -> str:
    """The subject of a topic's values (TopicNameStrategy)."""
    return f"{topic}-value"


def group(department: str, client: str) -> str:
    """The consumer group of a department's client."""
    return f"{department}.{client}"


def router_transactional_id(worker: int) -> str:
    return f"bus.router.{worker}"


@dataclass(frozen=True, slots=True)
class SourceTopic:
    resource: str
    version: int


@dataclass(frozen=True, slots=True)
class OpenTopic:
    resource: str
    version: int
    revision: int


@dataclass(frozen=True, slots=True)
class Mailbox:
    department: str
    resource: str
    version: int
    grant: str


def parse_topic(topic: str) -> SourceTopic | OpenTopic | Mailbox | None:
    """What a topic name says; None if it is not a name of this scheme."""
    match = _TOPIC.fullmatch(topic)
    if match is None or len(topic) > TOPIC_CHARACTERS_MAX:
        return None
    if match["source"]:
        return SourceTopic(match["source"], int(match["source_version"]))
    if match["open"]:
        return OpenTopic(match["open"], int(match["open_version"]), int(match["revision"]))
    return Mailbox(match["department"], match["resource"], int(match["version"]), match["grant"].upper())
