"""A cluster and an outbox in memory, where everything can stop, die or come late: what a revocation runs against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bianhe.registry.revocation.receipt import following, issue, receipts
from bianhe.registry.revocation.step import (
    Close,
    Done,
    Fence,
    Finish,
    MarkEffective,
    Step,
    Withdraw,
    next_step,
)
from bianhe.registry.sync.cluster import AccessRule
from bianhe.registry.sync.desired import desired
from bianhe.schemas.policy import GrantState, Policy
from bianhe.schemas.records.policy import Body, Closed, Effective
from support.policies import AT, policy

BROKERS = (1, 2)
PARTITIONS = (0, 1)
IDLE_MILLIS = 4000


@dataclass
class Worker:
    """A writer of the router. Fenced or dead it writes no more until it starts anew, with the whole policy log read."""

    policy: Policy
    acknowledged: int = 0
    acknowledged_by_fence: bool = False
    open_since: int | None = None
    """Log end of the mailbox before its open transaction."""
    hangs: bool = False
    fenced: bool = False


@dataclass
class Executor:
    """The memory of a process that carries the revocation out: gone when it dies."""

    seen_since: dict[int, float] = field(default_factory=dict)
    gone_since: dict[AccessRule, float] = field(default_factory=dict)


class SimulatedCluster:
    """Everything that `next_step` asks about, and what its steps do to it, for one grant."""

    def __init__(self, log: Policy, grant: str) -> None:
        self.log = log
        self.grant = grant
        self.outbox: list[Body] = []
        self.decided: list[Effective | Closed] = []
        self.now = 0.0
        self.workers = {writer: Worker(log) for writer in (*log.writers, *log.former_writers)}
        self.mailbox = dict.fromkeys(PARTITIONS, 0)
        self.begins = dict.fromkeys(PARTITIONS, 0)
        self.rules = {broker: set(desired(log).rules) for broker in BROKERS}
        self.removed: set[AccessRule] = set()
        self.executor = Executor()

    @property
    def edge(self) -> Mapping[int, int]:
        return self.log.grants[self.grant].edge

    # What happens by itself

    def decide(self, *bodies: Body) -> None:
        self.outbox += bodies

    def relay(self) -> None:
        self.log, self.outbox = policy(*self.outbox, after=self.log), []

    def tick(self, seconds: float) -> None:
        self.now += seconds

    def propagate(self, broker: int) -> None:
        """A broker learns of the access rules that were removed."""
        self.rules[broker] -= self.removed

    def work(self, writer: str) -> None:
        """A worker ends its transaction, reads the policy log, acknowledges it, and begins another one."""
        worker = self.workers[writer]
        if worker.hangs or worker.fenced:
            return
        self._end_transaction(worker)
        worker.policy = self.log
        if writer not in worker.policy.writers:
            worker.fenced = True
            return
        if worker.acknowledged < worker.policy.version:
            worker.acknowledged, worker.acknowledged_by_fence = worker.policy.version, False
        self._begin_transaction(worker)

    def wake(self, writer: str) -> None:
        """A worker that hung goes on with what it believed, before it reads anything."""
        worker = self.workers[writer]
        worker.hangs = False
        if not worker.fenced:
            self._begin_transaction(worker)

    def restart(self, writer: str) -> None:
        """A new process under the same id shuts the old one out and reads the policy log before it writes."""
        self._fence(writer)
        old = self.workers[writer]
        self.workers[writer] = Worker(self.log, old.acknowledged, old.acknowledged_by_fence)

    def _begin_transaction(self, worker: Worker) -> None:
        if worker.policy.grants[self.grant].state is GrantState.ACTIVE:
            worker.open_since = sum(self.mailbox.values()) if worker.open_since is None else worker.open_since
            for partition in PARTITIONS:
                self.mailbox[partition] += 1

    def _end_transaction(self, worker: Worker) -> None:
        if worker.open_since is not None:
            worker.open_since = None
            # A marker takes an offset too.
            for partition in PARTITIONS:
                self.mailbox[partition] += 1

    def _fence(self, writer: str) -> None:
        worker = self.workers[writer]
        self._end_transaction(worker)
        worker.fenced = True

    # The process that carries the revocation out

    def crash(self) -> None:
        self.executor = Executor()

    def step(self) -> Step:
        """Decide the next step and take it."""
        step = next_step(self.log, self.grant, self)
        match step:
            case Fence(version, writers):
                for writer in writers:
                    self._fence(writer)
                    self.workers[writer].acknowledged = version
                    self.workers[writer].acknowledged_by_fence = True
            case MarkEffective(_, _, edge, fenced):
                ends = {str(partition): end for partition, end in edge.items()}
                self._append(Effective(grant=self.grant, edge=ends, fenced=fenced))
            case Withdraw(_, edge):
                self.begins = dict(edge)
            case Close(rule):
                assert self.log.grants[self.grant].state is GrantState.EFFECTIVE
                self.removed.add(rule)
            case Finish():
                number = following(receipts(self.log), AT)
                self._append(Closed(receipt=issue(self.log.grants[self.grant], number, step, AT)))
            case Done(receipt):
                assert receipt == self.log.grants[self.grant].receipt
            case _:
                pass
        return step

    def _append(self, body: Effective | Closed) -> None:
        assert not any(isinstance(known, type(body)) for known in self.decided)
        self.decided.append(body)
        self.outbox.append(body)

    # What it sees

    def acknowledged(self, writer: str) -> int:
        return self.workers[writer].acknowledged

    def waited(self, version: int) -> float:
        return self.now - self.executor.seen_since.setdefault(version, self.now)

    def fenced(self, writer: str) -> bool:
        return self.workers[writer].acknowledged_by_fence

    def stable_ends(self, topic: str) -> Mapping[int, int] | None:
        pending = any(worker.open_since is not None for worker in self.workers.values())
        return None if pending else dict(self.mailbox)

    def starts(self, topic: str) -> Mapping[int, int]:
        return self.begins

    def is_decided(self, kind: type[Effective | Closed], grant: str) -> bool:
        return any(isinstance(body, kind) for body in self.decided)

    def brokers_with(self, rule: AccessRule) -> Mapping[int, bool]:
        knowing = {broker: rule in known for broker, known in self.rules.items()}
        if any(knowing.values()):
            self.executor.gone_since.pop(rule, None)
        else:
            self.executor.gone_since.setdefault(rule, self.now)
        return knowing

    def millis_without(self, rule: AccessRule) -> int:
        return int((self.now - self.executor.gone_since.get(rule, self.now)) * 1000)

    def idle_millis(self) -> int:
        return IDLE_MILLIS
