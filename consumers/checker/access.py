"""The access rules of each broker against the policy log: is every one carried by something?"""

from __future__ import annotations

from collections.abc import Iterator

from bianhe.consumers.checker.findings import Kind, Report
from bianhe.consumers.checker.log import Bus, Rule
from bianhe.consumers.checker.timeline import Timeline
from bianhe.schemas import names

_BUS_WRITES = {
    names.ROUTER_ACCOUNT: (
        names.OPEN_PREFIX,
        names.GRANT_PREFIX,
        names.JOURNAL,
        names.ROUTER_STATE,
        names.QUARANTINE,
        f"{names.ROUTER_GROUP}.",
    ),
    names.RELAY_ACCOUNT: (names.POLICY, names.RELAY_TRANSACTIONAL_ID),
    names.MONITOR_ACCOUNT: (names.MONITOR_PREFIX,),
    names.BREAK_GLASS_ACCOUNT: (names.POLICY, names.RELAY_TRANSACTIONAL_ID),
}
"""What each component may write: whoever else writes to the bus is none of it."""
_CHECKERS = Rule(names.CHECKER_ACCOUNT, "DESCRIBE", "CLUSTER", "kafka-cluster")
"""How a check learns these rules."""


def judge(bus: Bus, timeline: Timeline, report: Report) -> None:
    """Every rule of every broker must be carried; a rule that is not there yet only delays."""
    carried = frozenset(_carried(timeline))
    for node, rules in sorted(bus.rules.items()):
        for rule in sorted(rules):
            report.checked[Kind.ACCESS] += 1
            if rule.effect == "ALLOW" and rule not in carried and not _is_of_the_bus(rule):
                text = f"broker {node}: {rule.account} may {rule.operation} {rule.kind} {rule.name} ({rule.pattern})"
                report.add(Kind.ACCESS, "access rules", -1, -1, f"{text}, and nothing carries it")
    if not bus.rules:
        report.doubt("no broker told its access rules")


def _carried(timeline: Timeline) -> Iterator[Rule]:
    enabled = {code for code, department in timeline.departments.items() if department["enabled"]}
    enabled -= {code for target, code in timeline.stopped if target == "department"}
    for source, provider in timeline.providers.items():
        if provider in enabled:
            yield Rule(provider, "WRITE", "TOPIC", source)
    for department, topic in timeline.readers.values():
        if department in enabled and ("resource", _resource(topic)) not in timeline.stopped:
            yield Rule(department, "READ", "TOPIC", topic)
    for code in enabled:
        for client in timeline.departments[code]["clients"]:
            yield Rule(code, "READ", "GROUP", names.group(code, client))


def _resource(topic: str) -> str:
    """The resource that a delivery topic carries."""
    parts = topic.split(".")
    return parts[2] if topic.startswith(names.GRANT_PREFIX) else parts[1]


def _is_of_the_bus(rule: Rule) -> bool:
    if rule == _CHECKERS:
        return True
    if not rule.account.startswith("bus-") or rule.kind not in ("TOPIC", "GROUP", "TRANSACTIONAL_ID"):
        return False
    if rule.operation in ("READ", "DESCRIBE", "DESCRIBE_CONFIGS"):
        return True
    # The monitors make their own topics.
    creating = rule.operation == "CREATE" and rule.account == names.MONITOR_ACCOUNT
    return (rule.operation == "WRITE" or creating) and rule.name in _BUS_WRITES.get(rule.account, ())
