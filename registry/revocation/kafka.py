"""Carries revocations out, step by step, against a real cluster; what is already done is not done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from datetime import date, timedelta
from typing import Final

import structlog
from confluent_kafka import KafkaError
from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from bianhe.infra import clock
from bianhe.infra.closing import Closing
from bianhe.infra.kafka import clients, raw, transactions
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explain
from bianhe.registry.acknowledgements.kafka import Acknowledgements
from bianhe.registry.policy import sql
from bianhe.registry.policy.kafka import PolicyLog
from bianhe.registry.revocation.lines import obstacle
from bianhe.registry.revocation.receipt import Evidence, following, issue, receipts
from bianhe.registry.revocation.sql import expire
from bianhe.registry.revocation.step import (
    Close,
    Done,
    Fence,
    Finish,
    MarkEffective,
    Open,
    Settled,
    Step,
    WaitForEnds,
    WaitForFetches,
    Withdraw,
    expired,
    in_turn,
    next_step,
    on_their_way,
)
from bianhe.registry.sql import deciding, transaction
from bianhe.registry.sync import kafka as cluster
from bianhe.registry.sync.cluster import AccessRule, ResourceKind
from bianhe.schemas import names
from bianhe.schemas.errors import BusError, Fatal, Transient
from bianhe.schemas.grant import CITY_TIME
from bianhe.schemas.policy import EMPTY, GrantInForce, GrantState, Policy
from bianhe.schemas.records.policy import Closed, Effective
from bianhe.schemas.records.receipt import Receipt
from bianhe.schemas.records.state import Acknowledgement, worker_key, worker_partition

TRANSACTION_TIMEOUT_SECONDS: Final = 15.0
"""What the router's writers use: a fence must name one."""
_DELIVERY_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 0.02
_FETCHES_SECONDS: Final = 2.0
"""How often one is looked at that waits for fetches to time out."""
_CLOSING_SECONDS: Final = 0.5
"""How long in a row grants are looked at that are effective and wait to be closed."""
_ANSWER_SECONDS: Final = 1.0
"""How long it is believed that no broker knows an access rule, and what the brokers' settings are."""
_IDLE_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_TERMS_SECONDS: Final = 1.0
_HANGING_SECONDS: Final = 5.0
_CLOCKS_APART: Final = timedelta(hours=1)
"""How far the registry's clock may be behind the cluster's, which is asked only where a term may be over."""

log = structlog.get_logger("bianhe.revocation")


class StillRevoking(Transient):
    """A grant did not come into the state that was decided in time; the registry goes on where it stands."""


def carry_out(
    connection: Connection, engine: Engine, number: str, patience_seconds: float
) -> Generator[Step, None, None]:
    """Complete the revocation of a grant that was decided, yielding each step before it is taken, Done last.

    Raises StillRevoking where one step waits longer than `patience_seconds`. Killed anywhere, or run twice at once, the
    revocation ends the same.
    """
    with Revocations(connection, engine) as revocations:
        yield from revocations.steps(number, GrantState.CLOSED, patience_seconds, taking=True)


def watch(
    connection: Connection,
    engine: Engine,
    number: str,
    patience_seconds: float,
    until: GrantState = GrantState.CLOSED,
) -> Generator[Step, None, None]:
    """The steps by which a grant comes into a state, as the registry takes them; raises StillRevoking."""
    with Revocations(connection, engine) as revocations:
        yield from revocations.steps(number, until, patience_seconds, taking=False)


def await_disabled(connection: Connection, code: str, patience_seconds: float) -> None:
    """Wait until the policy log says that a department's account is disabled; raises StillRevoking."""
    deadline = time.monotonic() + patience_seconds
    with PolicyLog(connection) as policy_log:
        while policy_log.catch_up().departments[code].enabled:
            if time.monotonic() > deadline:
                raise StillRevoking(f"{code} is not disabled yet", cause="the registry does not run", cure="bianhe up")
            time.sleep(_WAIT_SECONDS)


def gather(connection: Connection, claimed: Receipt) -> Evidence:
    """What the cluster says now of a grant that was revoked. Raises BrokerUnreachable where any broker is silent."""
    rule = AccessRule(claimed.department, "READ", ResourceKind.TOPIC, claimed.topic)
    brokers = cluster.brokers_with(connection, rule)
    with Admin(connection) as admin:
        ends, starts = admin.end_offsets(claimed.topic, "read_uncommitted"), admin.start_offsets(claimed.topic)
    return Evidence(ends, starts, brokers)


class Revocations(Closing):
    """Decides and takes the steps of revocations. Use it in a `with` block, or close it."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._policy_log = PolicyLog(connection)
        self._seen = _View(connection, engine)
        self._policy: Policy = EMPTY
        self._on_their_way: tuple[str, ...] = ()
        """Of all the grants of this policy, those that need a look."""
        self._look_at: dict[str, float] = {}
        """When each of them, unless it is settled, is looked at next."""
        self._no_term_ended: tuple[int, date] | None = None
        """In which policy version, on which day of the city."""
        self._settled: set[int] = set()
        """Versions whose suspension or resumption has taken effect."""
        self._terms_at = 0.0
        self._hanging_at: dict[str, float] = {}
        """By topic: when to look next for what keeps its end open."""

    def close(self) -> None:
        self._policy_log.close()
        self._seen.close()

    def steps(
        self, number: str, until: GrantState, patience_seconds: float, *, taking: bool
    ) -> Generator[Step, None, None]:
        """Each step of a grant until it is in a state, taken after it was yielded or left to another process."""
        step, waits_since = None, time.monotonic()
        while _outcome(step) is not until:
            policy = self._policy_log.catch_up()
            following_step = next_step(policy, number, self._seen)
            if following_step != step:
                step, waits_since = following_step, time.monotonic()
                yield step
                if taking:
                    self._take(policy, number, step)
                    continue
            elif time.monotonic() - waits_since > patience_seconds + _known_wait(step):
                cause, cure = obstacle(step, number)
                raise StillRevoking(f"{number} is not {until} yet", cause=cause, cure=cure)
            elif taking and isinstance(step, WaitForEnds):
                self._take(policy, number, step)
            time.sleep(_WAIT_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Complete what the policy log says of grants, and end those whose term is over, until told to stop.

        A Fatal error ends it.
        """
        while not stop.is_set():
            try:
                stop.wait(self._advance())
            except Fatal:
                raise
            except BusError as fault:
                log.warning("waiting", fault=str(fault), cause=fault.cause)
                stop.wait(_RETRY_SECONDS)

    def _advance(self) -> float:
        """One step of each grant that is on its way; tells after how many seconds to go on."""
        policy = self._policy_log.catch_up()
        if policy is not self._policy:
            self._policy, self._on_their_way = policy, on_their_way(policy)
        self._end_terms(policy)
        pending = (number for number in self._on_their_way if not self._is_settled(policy.grants[number]))
        self._look_at = {number: self._look_at.get(number, 0.0) for number in pending}
        begun = time.monotonic()
        for number in in_turn(policy, self._look_at, begun):
            # Whoever waits for its end is not kept waiting by those that wait to be closed.
            if policy.grants[number].state is GrantState.EFFECTIVE and time.monotonic() > begun + _CLOSING_SECONDS:
                break
            self._look_at[number] = self._step(policy, number) + time.monotonic()
        soonest = min(self._look_at.values(), default=begun + _IDLE_SECONDS) - time.monotonic()
        return min(max(soonest, _WAIT_SECONDS), _IDLE_SECONDS)

    def _step(self, policy: Policy, number: str) -> float:
        """Take the next step of a grant; tells in how many seconds it is looked at again."""
        try:
            step = next_step(policy, number, self._seen)
            self._take(policy, number, step)
        except Fatal:
            raise
        except BusError as fault:
            # One that cannot go on holds no other up.
            log.warning("waiting", grant=number, fault=str(fault), cause=fault.cause)
            return _RETRY_SECONDS
        return _FETCHES_SECONDS if isinstance(step, WaitForFetches) else _WAIT_SECONDS

    def _is_settled(self, grant: GrantInForce) -> bool:
        return not grant.state.ended and grant.reached[grant.state].version in self._settled

    def _end_terms(self, policy: Policy) -> None:
        if time.monotonic() < self._terms_at:
            return
        self._terms_at = time.monotonic() + _TERMS_SECONDS
        soon = clock.now() + _CLOCKS_APART
        looked = policy.version, soon.astimezone(CITY_TIME).date()
        if looked == self._no_term_ended:
            return
        if not expired(policy, int(soon.timestamp() * 1000)):
            self._no_term_ended = looked
            return
        # By the cluster's clock: the router cuts by append time.
        for number in expired(policy, int(raw.cluster_time(self._connection) * 1000)):
            log.info("term ended", grant=number)
            expire(self._engine, number, clock.now())

    def _take(self, policy: Policy, number: str, step: Step) -> None:
        match step:
            case Fence(version=version, writers=writers):
                for writer in writers:
                    raw.fence(self._connection, writer, TRANSACTION_TIMEOUT_SECONDS)
                    self._acknowledge(writer, version)
                    log.info("fenced", writer=writer, grant=number)
            case MarkEffective(edge=edge, fenced=fenced):
                ends = {str(partition): end for partition, end in edge.items()}
                with deciding(self._engine) as database:
                    if not _is_decided(database, Effective, number):
                        sql.append(database, [Effective(grant=number, edge=ends, fenced=fenced)], clock.now())
            case WaitForEnds(topic=topic):
                self._abort_hanging(topic)
            case Withdraw(topic=topic, edge=edge):
                with Admin(self._connection) as admin:
                    admin.delete_records({(topic, partition): end for partition, end in edge.items()})
            case Close(rule=rule):
                cluster.remove_rule(self._connection, rule)
            case Open(rule=rule):
                cluster.add_rule(self._connection, rule)
                self._seen.forget(rule)
            case Settled(version=version):
                self._settled.add(version)
            case Finish():
                self._give_receipt(policy, number, step)
            case _:
                pass

    def _abort_hanging(self, topic: str) -> None:
        """End what no coordinator will end: it would keep the edge away for ever, and no writer of it is left."""
        now = time.monotonic()
        if now < self._hanging_at.setdefault(topic, now + _HANGING_SECONDS):
            return
        self._hanging_at[topic] = now + _HANGING_SECONDS
        for each in transactions.hanging(self._connection, (topic,)):
            transactions.abort(self._connection, each)
            log.warning("aborted a hanging transaction", topic=each.topic, partition=each.partition, offset=each.offset)

    def _acknowledge(self, writer: str, version: int) -> None:
        """Write down that a writer is fenced, so that nobody waits for it, or fences it, once more."""
        failed: list[KafkaError] = []
        producer = clients.producer(self._connection, linger_ms=0, delivery_timeout=_DELIVERY_SECONDS)
        producer.produce(
            names.ROUTER_STATE,
            Acknowledgement(version, fenced=True).encode(),
            worker_key(writer).encode(),
            partition=worker_partition(writer),
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        producer.flush()
        if failed:
            raise explain(failed[0], self._connection, f"acknowledging for {writer}")

    def _give_receipt(self, policy: Policy, number: str, finish: Finish) -> None:
        at = clock.now()
        with deciding(self._engine) as database:
            decided = [body.receipt for body in sql.decided(database, Closed)]
            if all(receipt.grant != number for receipt in decided):
                # The log too: an older backup of the database does not know all numbers that were given.
                receipt = issue(policy.grants[number], following([*decided, *receipts(policy)], at), finish, at)
                sql.append(database, [Closed(receipt=receipt)], at)


def _outcome(step: Step | None) -> GrantState | None:
    if isinstance(step, Settled):
        return step.state
    return GrantState.CLOSED if isinstance(step, Done) else None


def _known_wait(step: Step) -> float:
    return step.millis / 1000 if isinstance(step, WaitForFetches) else 0.0


class _View:
    """The cluster and the outbox as `next_step` asks for them. What it waited for is waited for again after a crash."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._acknowledgements = Acknowledgements(connection)
        self._opened: Admin | None = None
        self._seen_since: dict[int, float] = {}
        self._gone_since: dict[AccessRule, float] = {}
        self._rules: dict[str, tuple[float, Mapping[int, frozenset[AccessRule]]]] = {}
        """By account, what each broker knows, and when it said so."""
        self._idle: tuple[float, int] = (0.0, 0)

    def close(self) -> None:
        self._acknowledgements.close()

    def acknowledged(self, writer: str) -> int:
        return self._acknowledgements.of(writer).policy_version

    def waited(self, version: int) -> float:
        now = time.monotonic()
        return now - self._seen_since.setdefault(version, now)

    def fenced(self, writer: str) -> bool:
        return self._acknowledgements.of(writer).fenced

    @property
    def _admin(self) -> Admin:
        self._opened = self._opened or Admin(self._connection)
        return self._opened

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        stable = self._admin.end_offsets(topic, "read_committed")
        # Asked second: a log that ends where it was stable before has nothing pending.
        whole = self._admin.end_offsets(topic, "read_uncommitted")
        return whole if whole == stable else None

    def starts(self, topic: str) -> Mapping[int, int]:
        return self._admin.start_offsets(topic)

    def is_decided(self, kind: type[Effective | Closed], grant: str) -> bool:
        with transaction(self._engine) as database:
            return _is_decided(database, kind, grant)

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        at, known = self._rules.get(rule.account, (0.0, {}))
        if time.monotonic() - at > _ANSWER_SECONDS or any(rule in rules for rules in known.values()):
            known = cluster.rules_of(self._connection, rule.account)
            at = time.monotonic()
            self._rules = {each: told for each, told in self._rules.items() if at - told[0] < _ANSWER_SECONDS}
            self._rules[rule.account] = at, known
        knowing = {node: rule in rules for node, rules in known.items()}
        if any(knowing.values()):
            self._gone_since.pop(rule, None)
        else:
            self._gone_since.setdefault(rule, at)
        return knowing

    def forget(self, rule: AccessRule) -> None:
        """Ask again whether brokers know an access rule: it was added."""
        self._rules.pop(rule.account, None)

    def millis_without(self, rule: AccessRule) -> int:
        since = self._gone_since.get(rule)
        return 0 if since is None else int((time.monotonic() - since) * 1000)

    def idle_millis(self) -> int:
        at, millis = self._idle
        if time.monotonic() - at > _ANSWER_SECONDS:
            brokers = self._admin.broker_settings().values()
            millis = max(int(settings["connections.max.idle.ms"]) for settings in brokers)
            self._idle = time.monotonic(), millis
        return millis


def _is_decided(database: Database, kind: type[Effective | Closed], grant: str) -> bool:
    if kind is Effective:
        return any(body.grant == grant for body in sql.decided(database, Effective, naming=grant))
    return any(body.receipt.grant == grant for body in sql.decided(database, Closed, naming=grant))
