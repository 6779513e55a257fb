"""One round of faults: a city of real processes on a real broker, a plan carried out on it, and the checker's word."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, Message
from faults.office import Office
from faults.plan import Act, Kind, plan
from faults.proxy import Proxy, Trap
from faults.workers import Workers

from bianhe.consumers.checker.findings import Kind as Judgement
from bianhe.consumers.checker.findings import Verdict
from bianhe.consumers.checker.kafka import check_cluster, dump_cluster
from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.children import Children
from bianhe.infra.embedded.data_directory import free_ports
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.transactions import abort, hanging
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import MANAGED_PREFIXES, POLICY, ROUTER_ACCOUNT, ROUTER_GROUP
from support.policies import department
from support.policy_bodies import SOURCE, channel, population, writers
from support.policy_bus import PolicyBus
from support.records import person

WORKERS: Final = 3
REGISTRY: Final = "registry"
PARTITIONS: Final = 4
RECORDS_PER_SECOND: Final = 100
SETTLED_SECONDS: Final = 120.0
"""How long a city may take after the last fault until all is delivered and every decision is carried out."""
PSEUDONYM_KEY: Final = bytes(32)
_POLICY_RULE: Final = AccessRule(f"User:{ROUTER_ACCOUNT}", "TOPIC", POLICY, "READ")
_TICK_SECONDS: Final = 0.02
_STALL_SECONDS: Final = 0.1


@dataclass
class Outcome:
    """What a round did and what came of it."""

    seed: int
    seconds: float
    acts: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """How many of each kind hit something."""
    requests: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    published: int = 0
    deliveries: int = 0
    granted: int = 0
    revoked: int = 0
    hanging: int = 0
    """Transactions that the broker left open for ever, and that were ended as `bianhe doctor` says."""
    settled_after: float = 0.0
    verdict: str = "not judged"
    findings: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        return self.verdict == Verdict.VALID and not self.findings


def play(folder: Path, seed: int, seconds: float, told: Callable[[str], None]) -> Outcome:
    """Carry out the plan of a seed on a new city in a folder; its data and logs stay there."""
    outcome = Outcome(seed, seconds)
    with _bench(folder, seed, outcome, told) as bench:
        for act in plan(seed, seconds, WORKERS):
            bench.wait(act.pause)
            bench.do(act)
        bench.heal()
        bench.settle()
        bench.judge(folder / "dump")
    return outcome


@contextmanager
def _bench(folder: Path, seed: int, outcome: Outcome, told: Callable[[str], None]) -> Iterator[_Bench]:
    with EmbeddedBroker(folder / "kafka") as broker, Proxy(int(broker.bootstrap.rpartition(":")[2])) as proxy:
        bus = PolicyBus(broker, folder, f"sqlite:///{folder / 'registry.sqlite'}")
        key = bus.secrets / "pseudonym-key"
        key.write_text(PSEUDONYM_KEY.hex())
        key.chmod(0o600)
        departments = [department(code) for code in ("gongan", "renshe", "tongji", "yibao")]
        bus.decide(writers(WORKERS), *departments, population(PARTITIONS), channel())
        bus.apply()
        bus.relay.close()
        environment = {
            "BIANHE_HOME": str(folder),
            "BIANHE_KAFKA__BOOTSTRAP": proxy.bootstrap,
            "BIANHE_KAFKA__SECRETS": str(bus.secrets),
            "BIANHE_DATABASE": bus.database_url,
            "BIANHE_REGISTRY": f"http://127.0.0.1:{next(free_ports(random.Random(seed)))}",
        }
        workers = Workers(folder / "logs", environment, WORKERS)
        registry = Children(folder / "logs", environment)
        registry.start(REGISTRY, "bianhe.registry")
        office = Office(bus)
        try:
            yield _Bench(bus, proxy, workers, registry, office, outcome, random.Random(seed), told)
        finally:
            workers.stop()
            office.stop()
            registry.stop()
            bus.close()


class _Bench:
    """Publishes and supervises all the time; every fault is undone when its time is over."""

    def __init__(
        self,
        bus: PolicyBus,
        proxy: Proxy,
        workers: Workers,
        registry: Children,
        office: Office,
        outcome: Outcome,
        chance: random.Random,
        told: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._broker = bus.broker
        self._proxy = proxy
        self._workers = workers
        self._registry = registry
        self._office = office
        self._outcome = outcome
        self._chance = chance
        self._told = told
        self._begun = time.monotonic()
        self._due: list[tuple[float, Callable[[], object]]] = []
        self._producer = clients.producer(bus.admin, delivery_timeout=300)
        self._due_records = 0.0
        self._ticked_at = self._begun
        self._publishes = True
        self._away = False
        """Whether the broker is stopped or dead for a while."""
        self._sluggish_until = 0.0
        self._undelivered: Counter[str] = Counter()

    def do(self, act: Act) -> None:
        """Carry out one act; what hits nothing counts as nothing."""
        hit = self._done(act)
        at = time.monotonic() - self._begun
        line = f"{at:6.1f} s  {act}{'' if hit else ' (hit nothing)'}"
        self._outcome.acts.append(line)
        self._outcome.faults[act.kind.value] += hit
        self._told(line)

    def _done(self, act: Act) -> bool:
        worker, seconds = act.worker, act.seconds
        match act.kind:
            case Kind.KILL_WORKER:
                return self._workers.signal(worker, signal.SIGKILL)
            case Kind.STOP_WORKER:
                self._later(seconds, lambda: self._workers.signal(worker, signal.SIGCONT))
                return self._workers.signal(worker, signal.SIGSTOP)
            case Kind.LEAVE:
                self._later(seconds, lambda: self._workers.join(worker))
                return self._workers.leave(worker)
            case Kind.ZOMBIE:
                self._later(2 * seconds, lambda: self._workers.signal(worker, signal.SIGCONT))
                stopped = self._workers.signal(worker, signal.SIGSTOP)
                self._workers.double(worker)
                return stopped
            case Kind.KILL_BROKER:
                self._away = True
                self._broker.kill()
                self._later(seconds, self._restart)
                return True
            case Kind.STOP_BROKER:
                self._away = True
                self._later(seconds, self._go_on)
                return _tell(self._broker, signal.SIGSTOP)
            case Kind.DISK_REFUSES:
                # The next write fails as on a full disk, and the broker gives up; restarted it has room again.
                return _limit_files(self._broker, 1)
            case Kind.SLUGGISH:
                self._sluggish_until = time.monotonic() + seconds
                return True
            case Kind.CUT:
                return self._proxy.cut() > 0
            case Kind.TRAP:
                self._proxy.traps.append(Trap(act.api, act.treatment, act.number))
                return True
            case Kind.SLOW:
                self._proxy.delay = 0.05
                self._later(seconds, lambda: setattr(self._proxy, "delay", 0.0))
                return True
            case Kind.BLIND:
                self._later(seconds, lambda: self._patiently(self._bus.apply))
                return self._blind()
            case Kind.KILL_REGISTRY:
                hit = not self._registry.ended(REGISTRY)
                self._registry.kill(REGISTRY)
                return hit
            case Kind.ANOTHER_RELAY:
                self._office.another_relay()
                return True
            case Kind.GRANT:
                return self._office.grant()
            case Kind.REVOKE:
                return self._office.revoke()

    def _go_on(self) -> None:
        _tell(self._broker, signal.SIGCONT)
        self._away = False

    def _restart(self) -> None:
        self._broker.restart()
        self._away = False

    def _blind(self) -> bool:
        if self._away:
            # Waiting for its answer would hold up what brings it back.
            return False
        try:
            with Admin(self._bus.admin, timeout=5) as admin:
                admin.delete_rules([_POLICY_RULE])
        except BusError:
            return False
        return True

    def _patiently(self, act: Callable[[], object]) -> None:
        """Now, or in a while where the broker does not answer."""
        try:
            act()
        except BusError:
            self._later(1, lambda: self._patiently(act))

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        self._due.append((time.monotonic() + seconds, act))

    def wait(self, seconds: float) -> None:
        """Let time pass, at least this much."""
        deadline = time.monotonic() + seconds
        while True:
            self._tick()
            if time.monotonic() >= deadline:
                return
            time.sleep(_TICK_SECONDS)

    def _tick(self) -> None:
        now = time.monotonic()
        # What a restart of the broker held up is not made up for.
        if self._publishes:
            self._publish(min(now - self._ticked_at, 0.5) * RECORDS_PER_SECOND)
        self._ticked_at = now
        self._workers.revive()
        self._registry.revive()
        ready = [each for each in self._due if each[0] <= now]
        self._due = [each for each in self._due if each[0] > now]
        for _, act in ready:
            act()
        if self._broker.ended():
            self._restart()
        elif now < self._sluggish_until and not self._away and _tell(self._broker, signal.SIGSTOP):
            time.sleep(_STALL_SECONDS)
            _tell(self._broker, signal.SIGCONT)

    def _publish(self, records: float) -> None:
        self._due_records += records
        while self._outcome.published < self._due_records:
            self._outcome.published += 1
            key, value = self._record()
            self._producer.produce(SOURCE, value, key, on_delivery=self._delivered)
        self._producer.poll(0)

    def _record(self) -> tuple[bytes, bytes | None]:
        chance = self._chance
        key = b"entity-%d" % chance.randrange(300)
        division = chance.choice(("410212", "410202", "410203"))
        value = person(residence_division=division, address=f"第 {self._outcome.published} 条")
        kind = chance.random()
        if kind < 0.05:
            return key, None
        return key, value[:-1] if kind < 0.06 else value

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._undelivered[error.name()] += 1

    def heal(self) -> None:
        """Undo at once what is not undone yet, and let every worker live."""
        self._proxy.traps.clear()
        _limit_files(self._broker, resource.RLIM_INFINITY)
        self._due = [(0.0, act) for _, act in self._due]
        self._tick()
        for worker in range(WORKERS):
            self._workers.signal(worker, signal.SIGCONT)
            self._workers.join(worker)

    def settle(self) -> None:
        """Wait until all is routed and decided; what never comes is a finding."""
        begun, self._publishes = time.monotonic(), False
        while self._unfinished() and time.monotonic() - begun < SETTLED_SECONDS:
            self.wait(0.5)
            self._abort_hanging()
        self._outcome.settled_after = time.monotonic() - begun
        self._outcome.findings += [f"still after {SETTLED_SECONDS:.0f} s: {what}" for what in self._unfinished()]
        self._outcome.findings += [f"{count} records not published: {e}" for e, count in self._undelivered.items()]
        self._outcome.findings += self._office.faults

    def _abort_hanging(self) -> None:
        """What the broker lost track of: the one fault that a person on call undoes."""
        try:
            for each in hanging(self._bus.admin, MANAGED_PREFIXES):
                self._outcome.hanging += 1
                self._told(f"hanging: {each}")
                abort(self._bus.admin, each)
        except BusError as error:
            self._told(f"what hangs is looked for again: {error}")

    def _unfinished(self) -> list[str]:
        self._producer.flush(1)
        missing = []
        if len(self._producer):
            missing.append(f"{len(self._producer)} records are not published")
        if self._office.waiting:
            missing.append(f"{self._office.waiting} decisions are not carried out")
        try:
            with Admin(self._bus.admin, timeout=5) as admin:
                ends = {(SOURCE, p): end for p, end in admin.end_offsets(SOURCE, "read_committed").items() if end}
                routed = admin.group_offsets(ROUTER_GROUP)[ROUTER_GROUP]
        except BusError as error:
            return [*missing, str(error)]
        if behind := {
            f"{p}": f"{routed.get((t, p), 0)} of {end}" for (t, p), end in ends.items() if routed.get((t, p), 0) < end
        }:
            missing.append(f"routed {behind}")
        return missing

    def judge(self, dump: Path) -> None:
        """The checker's verdict on the raw logs; where it is not valid they are kept."""
        outcome = self._outcome
        self._office.stop()
        self._registry.stop()
        self._bus.apply()
        with Admin(self._bus.admin) as admin:
            written = sum(admin.end_offsets(SOURCE, "read_committed").values())
        if written != outcome.published - self._undelivered.total():
            outcome.findings.append(f"{written} source records of {outcome.published} published")
        report = check_cluster(self._bus.admin, PSEUDONYM_KEY)
        outcome.verdict = report.verdict
        outcome.findings += [str(finding) for finding in report.findings] + report.unknown
        outcome.deliveries = report.checked[Judgement.PROJECTION]
        outcome.granted, outcome.revoked = self._office.granted, len(self._office.closed)
        outcome.exits, outcome.requests = self._workers.ended, self._proxy.sprung
        if not outcome.valid:
            dump_cluster(self._bus.admin, dump)


def _tell(broker: EmbeddedBroker, signal_number: signal.Signals) -> bool:
    if not broker.running:
        return False
    os.kill(broker.pid, signal_number)
    return True


def _limit_files(broker: EmbeddedBroker, size: int) -> bool:
    """How large a file the broker may write from now on."""
    if not broker.running:
        return False
    _, hard = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, hard))
    return True
