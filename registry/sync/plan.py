"""The difference between what the cluster should be and what it is, as ordered steps. Decides, touches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bianhe.registry.sync.cluster import AccessRule, Actual, Desired, Effect, Pattern, Quota, ResourceKind, Topic
from bianhe.schemas import names


@dataclass(frozen=True, slots=True)
class CreateTopic:
    topic: Topic


@dataclass(frozen=True, slots=True)
class SetConfigs:
    """Make these the topic's own settings, all others the broker's."""

    topic: Topic
    differing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddRule:
    rule: AccessRule
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveRule:
    rule: AccessRule
    reason: str


@dataclass(frozen=True, slots=True)
class IssueAccount:
    """Give a component account a random password; a department's is issued by a person."""

    account: str


@dataclass(frozen=True, slots=True)
class RemoveAccount:
    account: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Set an account's quota, or with None as account the default of all others."""

    account: str | None
    quota: Quota
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveQuota:
    account: str


@dataclass(frozen=True, slots=True)
class RemoveFinerQuota:
    """Remove the quota of an account with a client id, None meaning any: it would outrank the account's own."""

    account: str | None
    client_id: str | None


Step = (
    CreateTopic
    | SetConfigs
    | AddRule
    | RemoveRule
    | IssueAccount
    | RemoveAccount
    | SetQuota
    | RemoveQuota
    | RemoveFinerQuota
)


class Sign(StrEnum):
    OPEN = "+"
    CLOSE = "-"
    CHANGE = "~"
    PERSON = "!"
    FOREIGN = "?"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan as a person reads it; `cure` is what cures it where sync does not."""

    sign: Sign
    kind: str
    text: str
    cause: str
    cure: str = ""

    @property
    def reason(self) -> str:
        """Cause and cure in one."""
        return f"{self.cause}: {self.cure}" if self.cure else self.cause


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order to take them; what only a person can cure; what is not ours and left alone."""

    steps: tuple[Step, ...]
    for_a_person: tuple[Line, ...]
    foreign: tuple[Line, ...]

    @property
    def differs(self) -> bool:
        return bool(self.steps or self.for_a_person)

    @property
    def lines(self) -> tuple[Line, ...]:
        return (*map(line, self.steps), *self.for_a_person)

    @property
    def summary(self) -> str:
        """How much there is to do, such as `2 to open · 1 to close`."""
        return self._counted({Sign.OPEN: "to open", Sign.CLOSE: "to close", Sign.CHANGE: "to change"})

    @property
    def outcome(self) -> str:
        """The same when all steps were taken, such as `2 opened · 1 closed`."""
        return self._counted({Sign.OPEN: "opened", Sign.CLOSE: "closed", Sign.CHANGE: "changed"})

    def _counted(self, words: Mapping[Sign, str]) -> str:
        signs = [each.sign for each in self.lines]
        told = {**words, Sign.PERSON: "for a person"}
        return " · ".join(f"{signs.count(sign)} {word}" for sign, word in told.items() if sign in signs) or "in sync"


def plan(desired: Desired, actual: Actual) -> Plan:
    """What makes the cluster what it should be: closing first, then topics, then who may use them.

    Taking the steps and planning again gives no steps. No step deletes a topic or changes a partition count.
    """
    surplus = sorted(actual.rules - desired.rules.keys())
    managed = [rule for rule in surplus if is_managed(rule, desired.departments)]
    removals = [RemoveRule(rule, _why_removed(rule, desired)) for rule in managed]
    steps = (
        *(removal for removal in removals if removal.rule.effect == Effect.ALLOW),
        *(RemoveAccount(name) for name in sorted(actual.accounts - desired.accounts.keys()) if _ours(name, desired)),
        *_topic_steps(desired.topics, actual.topics),
        *_quota_steps(desired, actual),
        *(IssueAccount(name) for name in names.BUS_ACCOUNTS if name not in actual.accounts),
        *(AddRule(rule, desired.rules[rule]) for rule in sorted(desired.rules.keys() - actual.rules)),
        # To lift a prohibition opens, so it comes last.
        *(removal for removal in removals if removal.rule.effect == Effect.DENY),
    )
    return Plan(steps, tuple(_for_a_person(desired, actual)), tuple(_foreign(desired, actual, surplus)))


def line(step: Step) -> Line:
    """A step as a person reads it."""
    match step:
        case CreateTopic(topic):
            count = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
            text = f"{topic.name}  {count}, {topic.configs['cleanup.policy']}"
            return Line(Sign.OPEN, "topic", text, topic.reason)
        case SetConfigs(topic, differing):
            wanted = [f"{key}={topic.configs.get(key, 'the default')}" for key in differing]
            return Line(Sign.CHANGE, "topic", f"{topic.name}  {', '.join(wanted)}", topic.reason)
        case AddRule(rule, reason):
            return Line(Sign.OPEN, rule.effect.lower(), str(rule), reason)
        case RemoveRule(rule, reason):
            return Line(Sign.CLOSE, rule.effect.lower(), str(rule), reason)
        case IssueAccount(account):
            return Line(Sign.OPEN, "account", account, "bus")
        case RemoveAccount(account):
            return Line(Sign.CLOSE, "account", account, "not enabled in the catalog")
        case SetQuota(account, quota, reason):
            return Line(Sign.CHANGE, "quota", f"{account or 'every other account'}  {quota}", reason)
        case RemoveQuota(account):
            return Line(Sign.CHANGE, "quota", f"{account}  none of its own", "not enabled in the catalog")
        case RemoveFinerQuota(account, client_id):
            text = f"{account or 'every other account'}  none with client id {client_id or 'any'}"
            return Line(Sign.CHANGE, "quota", text, "added outside the catalog; it outranks the account's own")


_SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    ResourceKind.TOPIC: (*names.MANAGED_PREFIXES, names.MONITOR_PREFIX),
    ResourceKind.GROUP: ("bus.", "bus-"),
    ResourceKind.TRANSACTIONAL_ID: ("bus.",),
}


def is_managed(rule: AccessRule, departments: frozenset[str]) -> bool:
    """Whether sync answers for an access rule: it touches a managed name, or gives an account of ours the cluster."""
    scopes = _SCOPES.get(rule.kind)
    if scopes is None:
        return rule.account in departments or rule.account.startswith("bus-")
    if rule.kind == ResourceKind.GROUP:
        scopes = (*scopes, *(f"{department}." for department in departments))
    if rule.name == "*":
        return True
    if rule.pattern == Pattern.LITERAL:
        return rule.name.startswith(scopes)
    return any(rule.name.startswith(scope) or scope.startswith(rule.name) for scope in scopes)


def _ours(account: str, desired: Desired) -> bool:
    # No department can have a code that begins so: names.code refuses it.
    return account in desired.departments or account.startswith("bus-")


def _why_removed(rule: AccessRule, desired: Desired) -> str:
    if rule in desired.stopped:
        return f"{desired.stopped[rule]} is stopped"
    if rule in desired.ended:
        return f"{desired.ended[rule]} has ended"
    return "no grant; added outside the catalog"


def _topic_steps(desired: Mapping[str, Topic], actual: Mapping[str, Topic]) -> Iterator[Step]:
    for name, topic in sorted(desired.items()):
        if name not in actual:
            yield CreateTopic(topic)
        elif dict(actual[name].configs) != dict(topic.configs):
            keys = sorted({*topic.configs, *actual[name].configs})
            yield SetConfigs(
                topic, tuple(key for key in keys if actual[name].configs.get(key) != topic.configs.get(key))
            )


def _quota_steps(desired: Desired, actual: Actual) -> Iterator[Step]:
    for account, quota in desired.quotas.items():
        if actual.quotas.get(account) != quota:
            yield SetQuota(account, quota, "bus" if account is None else desired.accounts[account])
    for account in sorted(name for name in actual.quotas if name is not None and name not in desired.quotas):
        if _ours(account, desired):
            yield RemoveQuota(account)
    for account, client_id in sorted(actual.finer_quotas, key=str):
        if account is None or _ours(account, desired):
            yield RemoveFinerQuota(account, client_id)


def _for_a_person(desired: Desired, actual: Actual) -> Iterator[Line]:
    for name, topic in sorted(actual.topics.items()):
        wanted = desired.topics.get(name)
        if wanted is not None and wanted.partitions != topic.partitions:
            text = f"{name}  has {topic.partitions} partitions, the catalog says {wanted.partitions}"
            yield Line(Sign.PERSON, "topic", text, "a partition count stays for the life of a version")
        if wanted is None and name.startswith(names.MANAGED_PREFIXES):
            yield Line(Sign.PERSON, "topic", name, "not in the catalog; sync never deletes a topic")
    for account, reason in sorted(desired.accounts.items()):
        if account not in actual.accounts and account in desired.departments:
            cause = f"{reason} is enabled; its password was never issued, or removed"
            yield Line(
                Sign.PERSON, "account", f"{account}  has no credential", cause, f"bianhe account rotate {account}"
            )
    if actual.subjects is not None:
        yield from _subject_lines(desired.subjects, actual.subjects)


def _subject_lines(desired: Mapping[tuple[str, int], str], actual: frozenset[tuple[str, int]]) -> Iterator[Line]:
    """Subjects follow from the registry's own database, so a difference means that it was changed or restored."""
    for (subject, id), reason in sorted(desired.items()):
        if (subject, id) not in actual:
            yield Line(Sign.PERSON, "subject", f"{subject}  lacks schema {id}", reason, "restore the database")
    for subject, id in sorted(actual - desired.keys()):
        yield Line(
            Sign.PERSON, "subject", f"{subject}  has schema {id}", "not on the policy log", "restore the database"
        )


def _foreign(desired: Desired, actual: Actual, surplus: list[AccessRule]) -> Iterator[Line]:
    for name in sorted(actual.topics):
        if not name.startswith((*names.MANAGED_PREFIXES, names.MONITOR_PREFIX, "__")):
            yield Line(Sign.FOREIGN, "topic", name, "not managed here")
    for account in sorted(actual.accounts - desired.accounts.keys()):
        if not _ours(account, desired):
            yield Line(Sign.FOREIGN, "account", account, "not managed here")
    for rule in surplus:
        if not is_managed(rule, desired.departments):
            yield Line(Sign.FOREIGN, rule.effect.lower(), str(rule), "not managed here")
