"""What `bianhe doctor` makes of what it sees: every rule that tells right from wrong, touching nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from bianhe.infra.cli.finding import State, Verdict, ok
from bianhe.infra.kafka.admin import Replicas
from bianhe.infra.kafka.transactions import HangingTransaction
from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.policy.chain import OutboxRow
from bianhe.registry.quarantine.kafka import Standing
from bianhe.registry.stops.stop import StopInForce
from bianhe.registry.sync.plan import Plan, Sign
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.journal import Quarantined

LIBRDKAFKA_OLDEST: Final = (2, 6, 1)
"""Older ones cannot log in with SCRAM to Kafka 4."""
SHOWN_MAX: Final = 5
"""Of many alike, so many are shown one by one."""
RELAY_PATIENCE: Final = timedelta(seconds=10)
WAITING_MANY: Final = 10_000
FREE_LEAST, FREE_SCARCE = 1_000_000_000, 5_000_000_000
SKEW_SECONDS: Final = 2.0
CALENDAR_AHEAD: Final = timedelta(days=60)
EXPIRY_NEAR, EXPIRY_AT_HAND = timedelta(days=30), timedelta(days=7)


def default_deny(sees: Mapping[int, bool], topic: str) -> Iterator[Verdict]:
    """What an account saw of a topic that no access rule of its own names."""
    if open_to_all := [node for node, seen in sees.items() if seen]:
        yield Verdict(
            State.FAULT,
            f"broker {', '.join(map(str, open_to_all))} shows a component the topic {topic}, which nobody granted",
            "allow.everyone.if.no.acl.found is true, or an access rule is for everybody",
            "set allow.everyone.if.no.acl.found=false on every broker; look for rules of User:*: bianhe sync plan",
        )
    else:
        yield ok("what no access rule allows is refused")


def replication(topics: Mapping[str, Replicas], minimum: int) -> Iterator[Verdict]:
    """Whether the loss of one broker loses what was acknowledged; `minimum` is min.insync.replicas."""
    behind = sorted(name for name, replicas in topics.items() if replicas.in_sync < replicas.total)
    single = [name for name, replicas in topics.items() if replicas.total == 1]
    if behind:
        yield Verdict(
            State.FAULT,
            f"{_count(len(behind), 'topic')} short of replicas: {_some(behind)}",
            "a broker is down or cannot keep up",
            "start it, or see its log; until then one more loss may stop the bus",
        )
    if single or minimum < 2:
        yield Verdict(
            State.WARNING,
            f"{len(single)} of {len(topics)} topics have one replica, min.insync.replicas is {minimum}",
            "a broker that loses its disk, or its power before it has written, loses what it acknowledged",
            "right for trials; a city needs three brokers, three replicas and min.insync.replicas=2",
        )
    elif not behind:
        yield ok(
            f"{len(topics)} topics with {min(each.total for each in topics.values())} replicas or more, all in sync"
        )


def packages(requirements: Iterable[str], installed: Mapping[str, str]) -> Iterator[Verdict]:
    """Compare `name>=version` lines with the versions installed; lines of extras are passed over."""
    wanted = [match.groups() for line in requirements if (match := re.fullmatch(r"([\w.-]+)>=([\d.]+)", line))]
    short = [
        f"{name} {installed.get(name, 'is missing')} (≥ {least})"
        for name, least in wanted
        if name not in installed or _version(installed[name]) < _version(least)
    ]
    if short:
        yield Verdict(
            State.FAULT,
            f"packages too old or missing: {_some(short)}",
            "this environment was made for another version of Bianhe",
            "install again: infra/bin/setup in a clone, or pip install --upgrade bianhe",
        )
    else:
        yield ok(f"{len(wanted)} packages as required")


def compiled(is_compiled: bool, quick: str, slow: str) -> Iterator[Verdict]:
    """Whether a loop that is compiled where a compiler is was."""
    if is_compiled:
        yield ok(quick)
    else:
        yield Verdict(
            State.WARNING,
            slow,
            "no C compiler was there when Bianhe was installed, or what it built is for other versions than these",
            "install the versions of requirements.lock, a C compiler and the headers of this Python; then Bianhe again",
        )


def librdkafka(version: str) -> Iterator[Verdict]:
    if _version(version) < LIBRDKAFKA_OLDEST:
        yield Verdict(
            State.FAULT,
            f"librdkafka is {version}, must be 2.6.1 or later",
            "older ones cannot log in with SCRAM to Kafka 4",
            "pip install --upgrade confluent-kafka, without a librdkafka of the system",
        )
    else:
        yield ok(f"librdkafka {version}")


def registry(url: str, health: tuple[int, str], associations: tuple[int, str]) -> Iterator[Verdict]:
    """What the registry answered, status and body, to a question for its health and to a client's first one."""
    status, body = health
    if status != 200 or not _is_json(body):
        yield Verdict(
            State.FAULT,
            f"what answers at {url} says {status} when asked for its health",
            "the registry cannot reach its database, or something else answers at this address",
            "see the registry's log, or correct the setting `registry`",
        )
        return
    status, body = associations
    if status not in (200, 404) or not _is_json(body):
        yield Verdict(
            State.FAULT,
            f"{url}/associations/… answers {status}{'' if _is_json(body) else ' without JSON'}",
            "current Schema Registry clients ask this first and stop at every answer but 200 and 404 with JSON",
            "let the proxy before the registry pass this path on",
        )
    else:
        yield ok(f"{url} answers")


def registry_silent(url: str, reason: str) -> Verdict:
    return Verdict(
        State.FAULT,
        f"the registry does not answer at {url}",
        f"{reason}: it is stopped, the address is wrong, or the network between is closed",
        "start it (bianhe up, or python -m bianhe.registry), or correct the setting `registry`",
    )


def stops(in_force: Sequence[StopInForce], now: datetime) -> Iterator[Verdict]:
    """What stands still by one person's word; a fault where no second person has answered in time."""
    today = now.astimezone(CITY_TIME).date()
    for each in in_force:
        stopped = each.stop.stopped
        fact = f"{stopped.target} {stopped.code} is stopped by {stopped.decided_by}: {stopped.reason}"
        if each.ratified:
            yield Verdict(State.WARNING, fact, "a second person has ratified it", "bianhe stop lift, when it is over")
        else:
            state = State.FAULT if each.overdue(today) else State.WARNING
            cause = f"a second person has until {each.due.day} to ratify or lift it"
            yield Verdict(state, fact, cause, f"bianhe stop ratify|lift {stopped.target} {stopped.code} --by <name>")
    if not in_force:
        yield ok("nothing is stopped")


def relay(waiting: Sequence[OutboxRow], highest: int, policy: Policy, now: datetime) -> Iterator[Verdict]:
    """Whether decisions reach the policy log; `highest` is the last number that the database has read back."""
    if not waiting:
        yield ok(f"nothing waits, the database knows the log to {highest} of {policy.version}")
        return
    since = now - min(row.at for row in waiting)
    fact = f"{_count(len(waiting), 'decision')} wait{'s' * (len(waiting) == 1)} for the policy log"
    if since <= RELAY_PATIENCE:
        yield Verdict(State.WARNING, fact, "decided a moment ago", "look again")
    else:
        yield Verdict(
            State.FAULT,
            f"{fact}, the oldest for {since.total_seconds():,.0f} s",
            "the relay, which runs in the registry, is stopped or refused",
            "see the registry's log; start it: bianhe up, or python -m bianhe.registry",
        )


def router(policy: Policy, acknowledged: Mapping[str, int], members: frozenset[str] | None) -> Iterator[Verdict]:
    """Whether every transactional id of the router runs and has acknowledged the present policy version.

    `members` is None where there is no source topic yet: then no worker joins the group, and running is not to be seen.
    """
    if not policy.writers:
        yield Verdict(
            State.WARNING, "the policy log names no router yet", "there is no catalog", "bianhe catalog import <file>"
        )
        return
    fine = True
    for writer in policy.writers:
        version = acknowledged.get(writer, 0)
        if members is not None and writer not in members:
            fine = False
            yield Verdict(
                State.FAULT,
                f"{writer} does not run; it acknowledged policy {version} of {policy.version}",
                "the worker was not started, or ended",
                f"see its log; start it: bianhe up, or python -m bianhe.consumers.router {writer.rpartition('.')[2]}",
            )
        elif version < policy.version:
            fine = False
            yield Verdict(
                State.FAULT,
                f"{writer} has acknowledged policy {version} of {policy.version}",
                "it is starting, or stuck; a revocation waits for it",
                "look again; if it stays, see its log and start it anew",
            )
    if fine:
        yield ok(f"{_count(len(policy.writers), 'writer')} at policy {policy.version}")


def lag(waiting: Mapping[str, int]) -> Iterator[Verdict]:
    """How many events of each source topic the router has still to route."""
    late = {topic: count for topic, count in waiting.items() if count > WAITING_MANY}
    for topic, count in sorted(late.items()):
        yield Verdict(
            State.WARNING,
            f"{count:,} events wait in {topic}",
            "more was published than the router's workers route, or they stand still",
            "look again: if it grows, start more workers, one for each free core",
        )
    if not late:
        yield ok(f"{sum(waiting.values()):,} events wait in {_count(len(waiting), 'source topic')}")


def quarantine(events: Sequence[Quarantined], *, more: bool) -> Iterator[Verdict]:
    """`more` says that there are earlier ones, which were not looked at."""
    if not events:
        yield ok("empty")
        return
    reasons = Counter(f"{event.topic}: {event.reason}" for event in events)
    yield Verdict(
        State.WARNING,
        f"{'more than ' * more}{_count(len(events), 'event')}",
        _some([f"{count:,} of {reason}" for reason, count in reasons.most_common()], "; "),
        "tell the provider; it corrects the record and publishes it again",
    )


def standstill(stopped: Sequence[Standing]) -> Iterator[Verdict]:
    """Source partitions that the router does not route on, because too much of them would be quarantined."""
    for each in stopped:
        yield Verdict(
            State.FAULT,
            f"{each.topic}/{each.partition} stands still at {each.standstill.position}",
            f"{each.standstill.quarantined} events just before it were quarantined: a bad deployment, not bad events",
            "see bianhe quarantine list; once its provider publishes rightly: "
            f"bianhe quarantine release {each.resource} --reason … --by …",
        )
    if not stopped:
        yield ok("nothing stands still")


def transactions(open_for_ever: Sequence[HangingTransaction]) -> Iterator[Verdict]:
    """Transactions that no timeout ends: what stands behind one reaches nobody, and no revocation ends there."""
    for each in open_for_ever:
        yield Verdict(
            State.FAULT,
            f"a transaction hangs on {each}, silent for {each.silent_seconds:.0f} s: nobody reads on from there",
            "no coordinator of Kafka knows it any more, so no timeout ends it (KIP-664)",
            f"bianhe transaction abort {each.topic} {each.partition} {each.offset}",
        )
    if not open_for_ever:
        yield ok("none hangs")


def sync(plan: Plan) -> Iterator[Verdict]:
    """Every difference between catalog and cluster."""
    for line in plan.lines[:SHOWN_MAX]:
        fact = " ".join(f"{line.kind} {line.text}".split())
        if line.sign is Sign.PERSON:
            yield Verdict(State.FAULT, fact, line.cause, line.cure)
        else:
            yield Verdict(State.FAULT, f"{line.sign} {fact}", line.cause, "bianhe sync plan, then bianhe sync apply")
    if len(plan.lines) > SHOWN_MAX:
        yield Verdict(State.FAULT, f"{len(plan.lines)} differences in all: {plan.summary}", cure="bianhe sync plan")
    if not plan.differs:
        yield ok(plan.summary)


def unencrypted(addresses: Iterable[str]) -> Verdict:
    """Plain text never leaves the machine."""
    abroad = sorted(each for each in addresses if not each.startswith(("127.", "localhost:", "[::1]:")))
    if not abroad:
        return ok("no TLS: the brokers are reached on this machine only")
    return Verdict(
        State.FAULT,
        f"{', '.join(abroad)}: records and passwords' proofs cross the network unencrypted",
        "the settings name no ca_file, so the listener speaks no TLS",
        "give the brokers keystores (bianhe pki issue), a SASL_SSL listener, and clients the ca_file",
    )


def certificate(what: str, until: datetime, now: datetime) -> Verdict:
    """Whether a certificate lasts long enough to be replaced in peace."""
    left = until - now
    if left > EXPIRY_NEAR:
        return ok(f"{what} is valid until {until:%Y-%m-%d}")
    state = State.FAULT if left <= EXPIRY_AT_HAND else State.WARNING
    cure = "bianhe pki rotate, which needs no restart; the authority's own needs a new ca_file at every client"
    return Verdict(state, f"{what} ends on {until:%Y-%m-%d}", "afterwards no client connects", cure)


def disk(free: int, place: str) -> Iterator[Verdict]:
    fact = f"{free / 1e9:,.1f} GB free in {place}"
    if free < FREE_SCARCE:
        yield Verdict(
            State.FAULT if free < FREE_LEAST else State.WARNING,
            fact,
            "a broker that cannot write stops, and with it the bus",
            "make room, or move the data: BIANHE_HOME",
        )
    else:
        yield ok(fact)


def clock(before: float, there: float, after: float) -> Iterator[Verdict]:
    """The cluster's clock, asked between two readings of this machine's, all in seconds since 1970."""
    skew = max(before - there, there - after, 0.0)
    if skew > SKEW_SECONDS:
        side = "behind" if there < before else "ahead of"
        yield Verdict(
            State.FAULT,
            f"the cluster's clock is {skew:,.1f} s {side} this machine's",
            "one of them is not kept by NTP; terms of grants end by the brokers' clocks, deadlines by this one",
            "set both by the same time servers",
        )
    else:
        yield ok(f"within {max(skew, after - before, 0.1):.1f} s of the cluster's")


def calendar(known: Calendar, today: date) -> Iterator[Verdict]:
    """Whether the holidays are known of every year that a deadline may soon reach into."""
    unknown = sorted({day.year for day in (today, today + CALENDAR_AHEAD) if not known.knows(day.year)})
    if unknown:
        yield Verdict(
            State.WARNING,
            f"the holidays of {', '.join(map(str, unknown))} are not known: deadlines in it are provisional",
            "the State Council's notice is not out, or the package chinesecalendar is older than it",
            "pip install --upgrade chinesecalendar; the registry takes it over when it starts",
        )
    else:
        yield ok(f"the holidays of {(today + CALENDAR_AHEAD).year} are known")


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _some(things: Sequence[str], between: str = ", ") -> str:
    rest = len(things) - SHOWN_MAX
    return between.join(things[:SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
