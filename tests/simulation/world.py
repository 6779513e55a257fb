"""One simulated history: the real workers on a simulated cluster, everything that happens drawn from one seed.

A worker runs in the call of the scheduler, and the scheduler runs in every call of its clients: so others publish,
decide, die, join and write while it stands in the middle of a transaction, or it dies there.
"""

from __future__ import annotations

import random
from bisect import bisect
from dataclasses import replace
from typing import Final

from confluent_kafka import KafkaException
from pydantic import SecretStr
from simulation import policies
from simulation.clients import Seat
from simulation.kafka import Cluster, Crash
from simulation.patches import CLOCK
from simulation.swarm import ACTS, drawn

from bianhe.consumers.router.kafka.assignment import AGAIN_SECONDS
from bianhe.consumers.router.kafka.worker import Worker
from bianhe.consumers.router.limits import Limits
from bianhe.schemas import names
from bianhe.schemas.errors import BusError
from bianhe.schemas.records.policy import Body, Effective
from bianhe.schemas.records.state import (
    STATE_PARTITIONS,
    Acknowledgement,
    worker_key,
    worker_partition,
)
from support.history import History
from support.policy_bodies import OPEN, SOURCE

WORKERS, PARTITIONS = policies.WORKERS, policies.PARTITIONS
NESTED_MAX = 2
QUIET_STEPS = 200
_TOPICS = {
    SOURCE: PARTITIONS,
    OPEN: PARTITIONS,
    names.POLICY: 1,
    names.JOURNAL: 1,
    names.QUARANTINE: 1,
    names.ROUTER_STATE: STATE_PARTITIONS,
}
SOUND = list(policies.SOUND)
BAD = [SOUND[0][:-1], SOUND[0] + b"\0", b"\0\0\0\x12\x34" + SOUND[0][5:], b""]
KEY = bytes(32)


class Stuck(Exception):
    """The quiet phase did not bring the router to the end."""


class Process:
    """One operating-system process of a worker, or none at present."""

    def __init__(self, world: World, number: int) -> None:
        self._seat = Seat("simulated", "bus-router", SecretStr(""), cluster=world.cluster, process=self)
        self._world = world
        self.number = number
        self.worker: Worker | None = None
        self.running = False
        """Whether it stands in a call: then only others go on."""
        self.killed = False
        self.writes_as = -1, -1
        """Producer and epoch of its transactions."""

    def step(self) -> None:
        """One turn of the loop; whatever comes out of it ends the process."""
        self.running = True
        try:
            if self.worker is None:
                self.worker = Worker(self._seat, self.number, KEY, self._world.limits)
            self.worker.step()
        except (Crash, KafkaException, SystemError, BusError):
            self.die()
        finally:
            self.running = self.killed = False

    def stop(self) -> None:
        """End in good order."""
        if self.worker is not None:
            self.running = True
            try:
                self.worker.run(lambda: True)
            except (Crash, KafkaException, SystemError, BusError):
                pass
            finally:
                self.running = self.killed = False
                self.die()

    def keep_to(self, limits: Limits) -> None:
        """Its transactions are as large as that from now on."""
        if self.worker is not None:
            for part in (self.worker, self.worker._writer, self.worker._loads):
                part._limits = limits

    def die(self) -> None:
        """A worker is a large knot; cut, it goes at once, and nobody needs to look for it."""
        if self.worker is not None:
            vars(self.worker._assignment).clear()
            vars(self.worker).clear()
            self.worker = None

    def end(self) -> None:
        """It is never started again."""
        self.die()
        vars(self).clear()


class World:
    """A cluster, its workers and all that happens to them."""

    def __init__(self, seed: int, *, signed: bool) -> None:
        self._chance = random.Random(seed)
        CLOCK.restart(self._chance)
        self.rates = drawn(self._chance)
        self.limits = policies.ROOMY
        """What transactions are while nothing happens to them."""
        self.cluster = Cluster(self, policies.MILLIS)
        self.events: list[str] = []
        self._depth = 0
        self._faults = True
        self._processes = [Process(self, number) for number in range(WORKERS)]
        self.policy = policies.PolicyLog(signed)
        self._revoking: list[policies.Revoking] = []
        for topic, partitions in _TOPICS.items():
            self.cluster.create(topic, partitions)
        for body in policies.BEGINNING:
            self._decide(body)
        for _ in range(self.rates.standing):
            self._grant()
        self._sync()

    def end(self) -> None:
        """Cut the knot that a history is: what is left of it goes at once."""
        for process in self._processes:
            process.end()
        self._processes.clear()
        vars(self.cluster).clear()

    # What the clients ask of the world

    def happens(self, share: float) -> bool:
        return self._faults and self._chance.random() < share

    def number(self, below: int) -> int:
        return self._chance.randrange(below)

    def wait(self, seconds: float) -> None:
        CLOCK.sleep(seconds)

    def share(self, most: int) -> int:
        return self._chance.randrange(most + 1) if self._faults else most

    def disturb(self, process: object) -> None:
        if not self._faults:
            return
        if self._depth < NESTED_MAX and self._chance.random() < self.rates.disturbed:
            self._depth += 1
            try:
                for _ in range(self._chance.randrange(1, 6)):
                    self._event()
            finally:
                self._depth -= 1
        assert isinstance(process, Process)
        if process.killed or self.happens(self.rates.crash):
            self.events.append(f"crash of {process.number}")
            raise Crash

    # One history

    def run(self, events: int) -> History:
        """Let so many things happen, then let everything come to rest."""
        self._warm_up()
        for _ in range(events):
            self._event()
        self._come_to_rest()
        return History(logs=self.cluster.logs, rules={1: frozenset()})

    def _warm_up(self) -> None:
        self._faults = False
        for _ in range(3 * self.rates.loaded):
            self._publish()
        for _ in range(self.rates.warm + self.rates.loaded):
            for process in self._processes:
                process.step()
            self.cluster.group.rebalance(self.number)
        for _ in range(self.rates.loaded):
            self._grant()
        self._sync()
        self._limit(replace(policies.LIMITS, events_max=self.rates.events_max))
        self._faults = True

    def _limit(self, limits: Limits) -> None:
        self.limits = limits
        for process in self._processes:
            process.keep_to(limits)

    def _event(self) -> None:
        shares = self.rates.acts
        _ACTING[bisect(shares, self._chance.random() * shares[-1])](self)

    def _arrive(self) -> None:
        self.cluster.arrive()

    def _come_to_rest(self) -> None:
        self._faults = False
        CLOCK.tick = 0.001
        self.cluster.blind = 0
        while len(self._processes) > WORKERS:
            self._processes.pop().end()
        self._limit(policies.ROOMY)
        while self.cluster.late:
            self.cluster.arrive()
        self._sync()
        for body in self.policy.going_on():
            self._decide(body)
        for turn in range(QUIET_STEPS):
            for process in self._processes:
                process.step()
            self._revoke_on()
            # Between steps only the dead have something open. It times out, and what was theirs goes to the living.
            self._sweep()
            if turn % 2:
                self._release()
            if turn == 1 or (turn > 1 and self.cluster.group.unclaimed):
                self.cluster.group.rebalance(self.number)
            if turn > 1 and not self._why():
                return
            CLOCK.sleep(AGAIN_SECONDS)
        raise Stuck(self._why())

    def _why(self) -> str:
        behind = []
        for process in self._processes:
            if process.worker is None or not process.worker.settled:
                behind.append(f"worker {process.number} is not up, or not settled")
        for partition in range(PARTITIONS):
            end, routed = self.cluster.end((SOURCE, partition)), self.cluster.committed.get((SOURCE, partition), 0)
            if routed < end:
                behind.append(f"partition {partition} is routed to {routed} of {end}")
        if unowned := self.cluster.group.unowned:
            behind.append(f"nobody has {sorted(unowned)}")
        if self._revoking:
            behind.append(f"{len(self._revoking)} revocations wait")
        return "; ".join(behind)

    # What may happen

    def _publish(self) -> None:
        for _ in range(self._chance.randrange(1, 6)):
            kind = self._chance.random() - self.rates.removed
            value = None if kind < 0 else self._chance.choice(BAD if kind < self.rates.bad else SOUND)
            self.cluster.millis += self._chance.choice((0, 1, policies.TERM_STEP))
            key = b"entity-%d" % self._chance.randrange(4)
            self.cluster.write((SOURCE, self._chance.randrange(PARTITIONS)), key, value)

    def _step(self) -> None:
        idle = [process for process in self._processes if not process.running]
        if idle:
            process = self._chance.choice(idle)
            if process.worker is not None or not self.happens(self.rates.absent):
                process.step()

    def _kill(self) -> None:
        process = self._chance.choice(self._processes)
        self.events.append(f"kill {process.number}")
        if process.running:
            process.killed = True
        else:
            process.die()

    def _leave(self) -> None:
        idle = [process for process in self._processes if not process.running]
        if idle:
            process = self._chance.choice(idle)
            self.events.append(f"{process.number} leaves")
            process.stop()

    def _double(self) -> None:
        """A second process with a number, and so a transactional id, that another has."""
        if len(self._processes) < WORKERS + 2:
            process = Process(self, self._chance.randrange(WORKERS))
            self.events.append(f"{process.number} is doubled")
            self._processes.append(process)

    def _session_ends(self) -> None:
        members = sorted(self.cluster.group.members)
        if members:
            instance = self._chance.choice(members)
            self.events.append(f"session of {instance} ends")
            self.cluster.group.remove(instance)
            self.cluster.group.rebalance(self.number)

    def _rebalance(self) -> None:
        self.cluster.group.rebalance(self.number, moving=True)

    def _sweep(self) -> None:
        """The broker aborts what is open too long and shuts its owner out."""
        for id, coordinator in self.cluster.coordinators.items():
            if coordinator.is_open:
                self.events.append(f"{id} timed out")
                self.cluster.initialise(id)

    def _blind(self) -> None:
        self.cluster.blind = self._chance.randrange(1, 6)

    def _grant(self) -> None:
        if (grant := self.policy.next_grant()) is not None:
            self._decide(grant)

    def _revoke(self) -> None:
        if (grant := self.policy.next_revocation(self._chance)) is not None:
            self._decide(policies.revoked(grant))
            self._revoking.append(policies.Revoking(grant, self.policy.version))
            self._revoke_on()

    def _halt(self) -> None:
        self._decide(self.policy.next_halt(self._chance))

    def _release(self) -> None:
        """An administrator lets what stands still go on."""
        for partition in range(PARTITIONS):
            found = self.cluster.standstills((SOURCE, partition))
            if found and found[-1].position not in self.policy.releases[partition]:
                end = self.cluster.end((SOURCE, partition))
                self._decide(self.policy.next_release(partition, found[-1].position, end))

    def _decide(self, body: Body) -> None:
        value = self.policy.append(body)
        self.events.append(f"policy {self.policy.version}: {body.kind}")
        self.cluster.write((names.POLICY, 0), None, value)

    def _sync(self) -> None:
        for topic in self.policy.topics:
            self.cluster.create(topic, PARTITIONS)

    def _revoke_on(self) -> None:
        """Effective once every writer has acknowledged or is shut out, and nothing is open on the mailbox."""
        for revoking in list(self._revoking):
            for id in (names.router_transactional_id(number) for number in range(WORKERS)):
                if self._acknowledged(id) >= revoking.version:
                    revoking.waits_for.discard(id)
                elif id in revoking.waits_for and self.happens(self.rates.fenced):
                    self.events.append(f"{id} fenced")
                    self.cluster.initialise(id)
                    revoking.waits_for.discard(id)
            places = [(revoking.grant.topic, partition) for partition in range(PARTITIONS)]
            if revoking.waits_for or revoking.grant.topic not in self.cluster.topics:
                continue
            if all(self.cluster.stable(place) == self.cluster.end(place) for place in places):
                self._revoking.remove(revoking)
                edge = {str(partition): self.cluster.end((topic, partition)) for topic, partition in places}
                self._decide(Effective(grant=revoking.grant.grant.number, edge=edge))

    def _acknowledged(self, id: str) -> int:
        wanted = worker_key(id).encode()
        for entry in reversed(self.cluster.read((names.ROUTER_STATE, worker_partition(id)))):
            if entry.key == wanted:
                return Acknowledgement.decode(entry.value or b"").policy_version
        return 0


_ACTING: Final = [getattr(World, f"_{act}") for act in ACTS]
