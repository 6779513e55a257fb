"""Receipts of revocations: issued from the policy log, and found again in Kafka and the log alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bianhe.registry.revocation.lines import offsets
from bianhe.registry.revocation.step import Finish
from bianhe.schemas.errors import Rejected
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import GrantInForce, GrantState, Policy
from bianhe.schemas.records.receipt import Receipt


class UnknownReceipt(Rejected):
    """No receipt on the policy log has this number."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the cluster says of a revoked grant now."""

    ends: Mapping[int, int]
    """The end of each partition of its topic in the raw log, with markers and aborted records."""
    starts: Mapping[int, int]
    brokers: Mapping[int, bool]
    """Whether each broker, by its node id, knows the access rule."""


@dataclass(frozen=True, slots=True)
class Check:
    """One statement of a receipt; `holds` is None where it cannot be checked any more."""

    what: str
    holds: bool | None
    found: str


def issue(grant: GrantInForce, number: str, finish: Finish, at: datetime) -> Receipt:
    """The receipt of a revocation that is to be closed now."""
    assert grant.revocation is not None
    revoked, effective = grant.reached[GrantState.REVOKING], grant.reached[GrantState.EFFECTIVE]
    return Receipt(
        number=number,
        grant=grant.grant.number,
        digest=grant.granted.digest,
        department=grant.grant.department,
        resource=grant.grant.resource,
        topic=grant.topic,
        ground=grant.revocation.ground,
        decided_by=grant.revocation.decided_by,
        decided_at=revoked.at,
        policy=revoked.version,
        edge={str(partition): end for partition, end in grant.edge.items()},
        fenced=grant.fenced,
        effective_at=effective.at if grant.has_mailbox else at,
        withdrawn=grant.revocation.withdraw,
        brokers=finish.brokers,
        kept_for=finish.kept_for,
        waited_millis=finish.waited_millis,
        closed_at=at,
    )


def following(receipts: Iterable[Receipt], at: datetime) -> str:
    """The number of the next receipt, after all that are known."""
    prefix = f"R-{at.astimezone(CITY_TIME).year}-"
    taken = [int(each.number.removeprefix(prefix)) for each in receipts if each.number.startswith(prefix)]
    return f"{prefix}{max(taken, default=0) + 1:04}"


def receipts(policy: Policy) -> list[Receipt]:
    """All receipts on the policy log, in the order of their numbers."""
    found = [grant.receipt for grant in policy.grants.values() if grant.receipt is not None]
    return sorted(found, key=lambda receipt: receipt.number)


def receipt(policy: Policy, number: str) -> Receipt:
    """One receipt; raises UnknownReceipt."""
    for each in receipts(policy):
        if each.number == number:
            return each
    raise UnknownReceipt(f"there is no receipt {number} on the policy log", cure="bianhe receipt list shows them")


def verify(claimed: Receipt, policy: Policy, seen: Evidence) -> list[Check]:
    """Every statement of a receipt against the policy log and the cluster, and what neither can tell."""
    grant = policy.grants.get(claimed.grant)
    if grant is None or grant.receipt is None:
        return [Check(f"{claimed.grant} was revoked and closed", False, "the policy log does not say so")]
    return [*_of_the_log(claimed, grant), *_of_the_cluster(claimed, policy, grant, seen), *_untold(claimed)]


def _of_the_log(claimed: Receipt, grant: GrantInForce) -> Iterator[Check]:
    revoked, effective = grant.reached[GrantState.REVOKING], grant.reached[GrantState.EFFECTIVE]
    closed = grant.reached[GrantState.CLOSED]
    # Told anew from the grant's other records; of the closing one only what nothing else says.
    again = issue(
        grant, claimed.number, Finish({}, 0, claimed.brokers, claimed.kept_for, claimed.waited_millis), closed.at
    )
    yield _same("the receipt that the log holds", claimed == grant.receipt, f"policy {closed.version}")
    named = {"grant", "digest", "department", "resource", "topic"}
    decided = {"ground", "decided_by", "decided_at", "policy", "withdrawn"}
    for what, fields, where in (
        (f"{claimed.grant}, its hash and its topic", named, "the record that granted it"),
        (f"ended on {claimed.ground} by {claimed.decided_by}", decided, f"policy {revoked.version}"),
        (
            f"last offsets {offsets(_ends(claimed)) or 'none'}",
            {"edge", "fenced", "effective_at"},
            f"policy {effective.version}",
        ),
    ):
        yield _same(what, claimed.model_dump(include=fields) == again.model_dump(include=fields), where)


def _of_the_cluster(claimed: Receipt, policy: Policy, grant: GrantInForce, seen: Evidence) -> Iterator[Check]:
    edge = _ends(claimed)
    if edge and not seen.ends:
        yield Check("nothing at or after the edge", None, f"{claimed.topic} is not there any more")
    elif edge:
        behind = {partition: end for partition, end in seen.ends.items() if end != edge.get(partition)}
        whole = not behind and seen.ends.keys() == edge.keys()
        yield Check("nothing at or after the edge", whole, f"the raw log ends at {offsets(behind or seen.ends)}")
    if claimed.withdrawn and seen.ends:
        left = {partition: start for partition, start in seen.starts.items() if start != edge.get(partition)}
        yield Check("nothing left before the edge", not left, f"the raw log begins at {offsets(left or seen.starts)}")
    carriers = policy.carriers.get((claimed.topic, claimed.department), ())
    knowing = [str(node) for node, knows in seen.brokers.items() if knows]
    what = f"{claimed.department} has no access rule on {claimed.topic}"
    if carriers:
        yield Check(what, None, f"it reads the channel under {', '.join(carriers)}")
    else:
        found = f"broker {', '.join(knowing)} knows one" if knowing else f"asked of {len(seen.brokers)} brokers"
        yield Check(what, not knowing, found)


def _untold(claimed: Receipt) -> Iterator[Check]:
    """What neither Kafka nor the log can tell afterwards."""
    yield Check("the times", None, "the registry's clock wrote them")
    yield Check("the brokers without access rule at that time", None, "they tell what they know now")
    if not claimed.edge and not claimed.kept_for:
        waited = f"{claimed.waited_millis / 1000:.0f} s were waited for connections from before"
        yield Check("no fetch from before was answered", None, waited)
    if claimed.fenced:
        yield Check(
            f"{', '.join(claimed.fenced)} could not write any more", None, "a fence leaves no trace of its time"
        )


def _same(what: str, same: bool, where: str) -> Check:
    return Check(what, same, where if same else f"{where} says otherwise")


def _ends(claimed: Receipt) -> dict[int, int]:
    return {int(partition): end for partition, end in claimed.edge.items()}
