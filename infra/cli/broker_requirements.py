"""The broker settings that the guarantees rest on (design 7), and how brokers are held against them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bianhe.infra.cli.finding import State, Verdict, ok


@dataclass(frozen=True, slots=True)
class Requirement:
    """A broker setting that a guarantee rests on. `holds` is given None where the setting is not set."""

    name: str
    wanted: str
    holds: Callable[[str | None], bool]
    otherwise: str


def _equal(name: str, value: str, otherwise: str) -> Requirement:
    return Requirement(name, value, lambda found: found == value, otherwise)


def _within(name: str, low: int, high: int, otherwise: str) -> Requirement:
    wanted = str(high) if low == high else f"{low} to {high}"
    return Requirement(
        name, wanted, lambda found: found is not None and found.isdigit() and low <= int(found) <= high, otherwise
    )


REQUIREMENTS: Final = (
    _equal(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "without it no access rule is enforced",
    ),
    _equal("auto.create.topics.enable", "false", "a topic would come into being by being named"),
    _within("transaction.max.timeout.ms", 1, 60_000, "an abandoned transaction would hold readers back for longer"),
    _within(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        1,
        1_000,
        "an abandoned transaction would be ended later than the router's recovery counts on",
    ),
    _within(
        "connections.max.idle.ms", 30_000, 60_000, "a waiting fetch outlives a revocation until its connection ends"
    ),
    _within("connections.max.reauth.ms", 1, 60_000, "a removed account would stay logged in for longer"),
    _within("fetch.max.bytes", 1, 8_388_608, "one fetch that was waiting could carry away more after a revocation"),
    _within("max.connections", 1, 100_000, "one account could open connections until the broker can open no file"),
    _within(
        "offsets.retention.minutes",
        90 * 24 * 60,
        2**31 - 1,
        "a department that was away would lose its position before removals are forgotten",
    ),
    Requirement(
        "delegation.token.secret.key",
        "unset",
        lambda found: found is None,
        "delegation tokens are credentials that no catalog knows",
    ),
)
"""`allow.everyone.if.no.acl.found` is tried instead, since brokers hide it: see `judgement.default_deny`."""


def brokers_as_required(found: Mapping[int, Mapping[str, str]]) -> Iterator[Verdict]:
    """Compare what each broker goes by, its listeners' own settings included, with the requirements."""
    wrong: dict[tuple[Requirement, str, str | None], list[int]] = defaultdict(list)
    for node, settings in sorted(found.items()):
        for requirement in REQUIREMENTS:
            for name, value in _values(settings, requirement.name):
                if not requirement.holds(value):
                    wrong[requirement, name, value].append(node)
    for (requirement, name, value), nodes in wrong.items():
        brokers = ", ".join(map(str, nodes))
        what = "is not set" if value is None else f"is {value}"
        yield Verdict(
            State.FAULT,
            f"{name} {what} on broker {brokers}, must be {requirement.wanted}",
            requirement.otherwise,
            f"correct {name} in server.properties and restart, or remove the override (kafka-configs.sh --entity-type "
            f"brokers --entity-name {nodes[0]} --alter --delete-config {name})",
        )
    if not wrong:
        yield ok(f"{len(REQUIREMENTS)} settings right on broker {', '.join(map(str, found))}")


def _values(settings: Mapping[str, str], name: str) -> Iterator[tuple[str, str | None]]:
    yield name, settings.get(name)
    for override, value in sorted(settings.items()):
        if override.startswith("listener.name.") and override.endswith(f".{name}"):
            yield override, value
