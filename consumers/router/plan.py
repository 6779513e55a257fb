"""The routing plan: what the policy in force means for each source topic. Immutable, swapped between transactions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from bianhe.schemas import names, wire
from bianhe.schemas.contract import Contract
from bianhe.schemas.errors import Fatal
from bianhe.schemas.grant import InvalidGrant
from bianhe.schemas.lanes import NO_TERM
from bianhe.schemas.policy import GrantInForce, GrantState, Policy
from bianhe.schemas.records.policy import OpenChannel, Resource, Target
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View, channel_view, grant_view


class MissingPseudonymKey(Fatal):
    """A grant asks for pseudonyms and this router has no key to make them."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery topic fed from a source topic."""

    topic: str
    slot: int
    """Which of the slicer's outputs it gets."""
    frame: bytes
    """Magic byte and schema id."""
    until: int
    """First millisecond after the term, NO_TERM without one."""
    filtered: bool
    """Whether a row rule decides who is in, so that leaving retracts."""
    grant: str
    """Hash of the grant, empty for an open channel."""


@dataclass(frozen=True)
class Route:
    """All deliveries of a source topic: a record is walked once for all of them."""

    source: str
    slicers: Mapping[bytes, Slicer]
    """By a record's head, magic byte and schema id: it may be written under an earlier revision."""
    deliveries: tuple[Delivery, ...]
    still: frozenset[str]
    """Delivery topics that are suspended, stopped, or of a grant that is no view: each stands still where it is."""
    refused: Mapping[str, str]
    """By number: the grants that are no view, and why."""
    made_of: object = field(repr=False, compare=False)
    """Revisions, channel, mailboxes, stops: where they are the same, a new plan keeps the compiled route."""

    def only(self, topics: Collection[str]) -> Route:
        """The same route with these of its deliveries."""
        if all(delivery.topic in topics for delivery in self.deliveries):
            return self
        return replace(self, deliveries=tuple(each for each in self.deliveries if each.topic in topics))

    @property
    def filtered(self) -> tuple[Delivery, ...]:
        return tuple(delivery for delivery in self.deliveries if delivery.filtered)


@dataclass(frozen=True)
class RoutingPlan:
    """The routes under one policy version."""

    policy_version: int
    routes: Mapping[str, Route]
    awaiting: frozenset[str] = frozenset()
    """Delivery topics left out because they do not exist yet."""

    def delivering_to(self, topics: Collection[str]) -> RoutingPlan:
        """The same plan without deliveries to topics that do not exist: an unsynced grant holds nobody up."""
        routes, awaiting = {}, set[str]()
        for source, route in self.routes.items():
            routes[source] = route.only(topics)
            if routes[source] is not route:
                awaiting |= {delivery.topic for delivery in route.deliveries if delivery.topic not in topics}
        return RoutingPlan(self.policy_version, routes, frozenset(awaiting))


def compile_plan(policy: Policy, pseudonym_key: bytes | None, previous: RoutingPlan | None = None) -> RoutingPlan:
    """Compile the routes of a policy, keeping those of the previous plan that did not change.

    A grant on the log that cannot be a view gets nothing. Raises MissingPseudonymKey.
    """
    kept = previous.routes if previous else {}
    routes = {}
    for key, resource in policy.resources.items():
        source = names.source_topic(resource.code, resource.version)
        channel, grants = policy.present_channels.get(key), policy.mailboxes.get(key)
        made_of = policy.revisions[key], channel, grants, _stopped(policy, resource.code, channel, grants)
        known = kept.get(source)
        if known is None or known.made_of != made_of:
            known = _route(source, *made_of, pseudonym_key)
        routes[source] = known
    return RoutingPlan(policy.version, routes)


def _route(
    source: str,
    revisions: tuple[Resource, ...],
    channel: OpenChannel | None,
    grants: Mapping[str, GrantInForce] | None,
    stopped: frozenset[str],
    pseudonym_key: bytes | None,
) -> Route:
    contracts = [Contract.parse(revision.contract) for revision in revisions]
    contract = contracts[-1]
    views = _Views(pseudonym_key)
    deliveries = []
    if channel is not None and channel.topic not in stopped:
        slot = views.slot(channel_view(contract, channel.view_schema), None)
        deliveries.append(_delivery(channel.topic, slot, channel.schema_id, NO_TERM, False, ""))
    mailboxes = sorted((grants or {}).values(), key=lambda grant: grant.topic)
    still = {*stopped, *(each.topic for each in mailboxes if each.state is GrantState.SUSPENDED)}
    refused: dict[str, str] = {}
    for mailbox in (each for each in mailboxes if each.topic not in still):
        try:
            view = grant_view(contract, mailbox.grant)
        except InvalidGrant as fault:
            # The registry compiles before it grants; this is the second lock, and it holds no other grant up.
            still.add(mailbox.topic)
            refused[mailbox.grant.number] = str(fault)
            continue
        slot = views.slot(view, mailbox.grant.number)
        granted = mailbox.granted
        deliveries.append(
            _delivery(
                granted.topic, slot, granted.schema_id, mailbox.grant.until_millis, bool(view.row_rule), granted.digest
            )
        )
    slicers = {
        wire.frame(revision.schema_id, b""): views.slicer(written_under)
        for revision, written_under in zip(revisions, contracts, strict=True)
    }
    return Route(source, slicers, tuple(deliveries), frozenset(still), refused, (revisions, channel, grants, stopped))


def _stopped(
    policy: Policy, resource: str, channel: OpenChannel | None, grants: Mapping[str, GrantInForce] | None
) -> frozenset[str]:
    """The delivery topics of a resource that break-glass lets stand still."""
    if not policy.stops:
        return frozenset()
    whole = policy.is_stopped(Target.RESOURCE, resource)
    mailboxes = {
        each.topic
        for each in (grants or {}).values()
        if whole or policy.is_stopped(Target.DEPARTMENT, each.grant.department)
    }
    return frozenset(mailboxes | {channel.topic} if whole and channel is not None else mailboxes)


def _delivery(topic: str, slot: int, schema_id: int, until: int, filtered: bool, grant: str) -> Delivery:
    return Delivery(topic, slot, wire.frame(schema_id, b""), until, filtered, grant)


class _Views:
    """The distinct views of a route: identical ones are sliced once."""

    def __init__(self, pseudonym_key: bytes | None) -> None:
        self._key = pseudonym_key
        self._slots: dict[tuple[str, bytes | None], int] = {}
        self._views: list[tuple[View, bytes | None]] = []

    def slot(self, view: View, grant: str | None) -> int:
        secret = pseudonym_secret(self._key, grant) if view.pseudonymous and grant else None
        slot = self._slots.setdefault((view.identity, secret), len(self._views))
        if slot == len(self._views):
            self._views.append((view, secret))
        return slot

    def slicer(self, contract: Contract) -> Slicer:
        """The slicer for records written under this contract."""
        return Slicer(contract, self._views)


def pseudonym_secret(key: bytes | None, grant: str) -> bytes:
    """The secret of one grant's pseudonyms: HMAC-SHA-256 of its number under the routers' key."""
    if key is None:
        raise MissingPseudonymKey(
            f"{grant} masks with pseudonyms and this router has no key",
            cure="give every worker the same pseudonym key file (32 random bytes, mode 0600)",
        )
    return hmac.new(key, grant.encode(), hashlib.sha256).digest()
