"""A Kafka cluster as the router's clients show it: in one thread, without time, and as unreliable as it is told to be.

It has what the router's safety rests on, as measured on a real broker: epochs and fencing, control records, the last
stable offset, a group whose members lose partitions in their sleep, and requests that arrive late, in the middle of
the next transaction of the same epoch (the gap of KIP-890).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from simulation.swarm import Rates

from bianhe.consumers.checker.log import Entry, Marker, Place
from bianhe.schemas.names import ROUTER_STATE
from bianhe.schemas.records.state import Standstill, position_partition, standstill_key


class Crash(BaseException):
    """The process of a worker dies here; nothing catches it."""


class World(Protocol):
    """What may happen at any call of a client."""

    @property
    def rates(self) -> Rates: ...

    def disturb(self, process: object) -> None:
        """Let something else happen first; raises Crash where the caller dies."""
        ...

    def happens(self, share: float) -> bool:
        """Whether a fault comes that comes in this share of cases."""
        ...

    def number(self, below: int) -> int: ...

    def wait(self, seconds: float) -> None:
        """Nothing comes for so long."""
        ...

    def share(self, most: int) -> int:
        """How many of so many: any number while there are faults, all of them without."""
        ...


def fault(code: int, *, fatal: bool = False, retriable: bool = False, abortable: bool = False) -> KafkaException:
    """The client library's exception for an error."""
    return KafkaException(KafkaError(code, "simulated", fatal=fatal, retriable=retriable, txn_requires_abort=abortable))


FENCED = KafkaError._FENCED


@dataclass
class Coordinator:
    """The transactions of one transactional id."""

    producer: int
    epoch: int = -1
    places: dict[Place, int] = field(default_factory=dict)
    """Where the open transaction writes, and from which offset on."""
    offsets: dict[Place, int] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return bool(self.places or self.offsets)


class Member:
    """A consumer in the group. One with the same instance id shuts an earlier one out."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.valid = True
        self.fenced = False
        self.owned: set[Place] = set()
        self.coming: set[Place] = set()
        self.going: set[Place] = set()


class Group:
    """Who owns which source partition: cooperative, so a partition comes when its owner has let it go."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.partitions: set[Place] = set()

    @property
    def unowned(self) -> set[Place]:
        return self.partitions.difference(*(member.owned for member in self.members.values()))

    @property
    def unclaimed(self) -> set[Place]:
        """What nobody has, nor is to get."""
        return self.unowned.difference(*(member.coming for member in self.members.values()))

    def join(self, instance: str) -> Member:
        member, earlier = Member(instance), self.members.get(instance)
        if earlier is not None:
            # A static member comes back to what was its own.
            earlier.valid, earlier.fenced = False, True
            member.coming = (earlier.owned | earlier.coming) - earlier.going
        self.members[instance] = member
        return member

    def remove(self, instance: str) -> None:
        """A member left, or its session is over."""
        member = self.members.pop(instance, None)
        if member is not None:
            member.valid = False

    def rebalance(self, choose: Callable[[int], int], *, moving: bool = False) -> None:
        """Give what nobody has to some member; moving, all of it, and what another still holds is asked for."""
        members = list(self.members.values())
        if not members:
            return
        for place in sorted(self.partitions if moving else self.unclaimed):
            least = min(len(member.owned | member.coming) for member in members)
            few = [member for member in members if moving or len(member.owned | member.coming) == least]
            wanted = few[choose(len(few))]
            holders = [member for member in members if place in member.owned | member.coming]
            if not holders:
                wanted.coming.add(place)
            elif holders != [wanted]:
                for holder in holders:
                    holder.coming.discard(place)
                    holder.going |= {place} & holder.owned


class Cluster:
    """Logs, coordinators, one group; the broker never forgets and never sleeps, its clients do."""

    def __init__(self, world: World, millis: int) -> None:
        self.world = world
        self.millis = millis
        self.logs: dict[Place, list[Entry]] = {}
        self.topics: set[str] = set()
        self._aborted: dict[Place, set[int]] = {}
        """Offsets that a `read_committed` reader is not shown, but for control records."""
        self.coordinators: dict[str, Coordinator] = {}
        self.group = Group()
        self.committed: dict[Place, int] = {}
        self.late: list[Callable[[], None]] = []
        """Requests on their way that their clients have given up."""
        self.blind = 0
        """How many questions for the end of the policy log get no answer from now on."""
        self.begun: dict[Place, set[tuple[int, int, int]]] = defaultdict(set)
        """Who began to read a source partition, by producer and epoch, and where: there it counts anew."""

    def create(self, topic: str, partitions: int) -> None:
        if topic not in self.topics:
            self.topics.add(topic)
            for partition in range(partitions):
                self.logs[topic, partition], self._aborted[topic, partition] = [], set()

    def write(self, place: Place, key: bytes | None, value: bytes | None) -> None:
        """A record of somebody without transactions."""
        log = self.logs[place]
        log.append(Entry(len(log), self.millis, key, value))

    def end(self, place: Place) -> int:
        return len(self.logs[place])

    def stable(self, place: Place) -> int:
        """The last stable offset: before the first record of a transaction that is open."""
        end = len(self.logs[place])
        for coordinator in self.coordinators.values():
            end = min(end, coordinator.places.get(place, end))
        return end

    def read(self, place: Place, start: int = 0) -> list[Entry]:
        """What a `read_committed` reader sees from an offset on."""
        log, aborted = self.logs[place][start : self.stable(place)], self._aborted[place]
        return [entry for entry in log if entry.marker is None and entry.offset not in aborted]

    def standstills(self, source: Place) -> list[Standstill]:
        """All that was written of a source partition, a release as a record of its own."""
        key = standstill_key(*source).encode()
        states = self.read((ROUTER_STATE, position_partition(*source)))
        return [Standstill.decode(entry.value) for entry in states if entry.key == key and entry.value is not None]

    # Transactions

    def initialise(self, transactional_id: str) -> int:
        """A new epoch; what the one before left open is aborted, and its owner shut out."""
        coordinator = self.coordinators.setdefault(transactional_id, Coordinator(10 + len(self.coordinators)))
        self._finish(coordinator, commit=False)
        coordinator.epoch += 1
        return coordinator.epoch

    def checked(self, transactional_id: str, epoch: int) -> Coordinator:
        coordinator = self.coordinators[transactional_id]
        if coordinator.epoch != epoch:
            raise fault(FENCED, fatal=True)
        return coordinator

    def produce(
        self, transactional_id: str, epoch: int, place: Place, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        coordinator = self.checked(transactional_id, epoch)
        log = self.logs[place]
        coordinator.places.setdefault(place, len(log))
        log.append(Entry(len(log), self.millis, key, value, tuple(headers), coordinator.producer, epoch, True))

    def add_offsets(self, transactional_id: str, epoch: int, offsets: dict[Place, int], member: Member) -> None:
        coordinator = self.checked(transactional_id, epoch)
        if not member.valid:
            raise fault(KafkaError.UNKNOWN_MEMBER_ID, abortable=True)
        coordinator.offsets.update(offsets)

    def end_transaction(self, transactional_id: str, epoch: int, commit: bool) -> None:
        self._finish(self.checked(transactional_id, epoch), commit)

    def _finish(self, coordinator: Coordinator, commit: bool) -> None:
        marker = Marker.COMMIT if commit else Marker.ABORT
        producer = coordinator.producer
        for place, begin in coordinator.places.items():
            log = self.logs[place]
            if not commit:
                self._aborted[place].update(entry.offset for entry in log[begin:] if entry.producer == producer)
            log.append(Entry(len(log), self.millis, b"", b"", (), producer, coordinator.epoch, True, marker))
        if commit:
            self.committed.update(coordinator.offsets)
        coordinator.places, coordinator.offsets = {}, {}

    def arrive(self) -> None:
        """One late request reaches the broker after all; a stale epoch is refused without a word."""
        if self.late:
            request = self.late.pop(self.world.number(len(self.late)))
            with suppress(KafkaException):
                request()


Headers = list[tuple[str, bytes]]
