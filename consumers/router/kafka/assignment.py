"""Source partitions come and go: what the group gives a worker is recovered before anything of it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from bianhe.consumers.router.kafka.recovery import Recovery
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route, RoutingPlan
from bianhe.schemas.errors import Transient
from bianhe.schemas.records.state import Standstill

AGAIN_SECONDS: Final = 1.0
log = structlog.get_logger("bianhe.router")
Source = tuple[str, int]
"""A source topic and one of its partitions."""


class DeliveryTopicGone(Transient):
    """Topics that were delivered to do not exist any more."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__(
            f"{', '.join(sorted(topics))} was written and is not there any more",
            cause="somebody deleted the topic, which sync never does",
            cure="restore it; until then its source is not routed, so nothing is lost",
        )


class Assignment:
    """The source partitions that the group gave a worker, and what it knows of those that are recovered."""

    def __init__(self, consumer: Consumer, recovery: Recovery) -> None:
        self._consumer = consumer
        self._recovery = recovery
        self.states: dict[Source, PartitionState] = {}
        self.awaiting: set[Source] = set()
        """Assigned, but not yet recovered."""
        self._put_off: dict[Source, tuple[str, float]] = {}
        """Of those, which could not be recovered, why, and when to try again."""

    def on_assign(self, consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        """The group gives partitions."""
        # Nothing is fetched before it is recovered, and recovery must not wait inside a transaction of its own.
        consumer.incremental_assign([])
        self.awaiting |= sources_of(partitions)

    def remove(self, sources: set[Source]) -> None:
        """The group takes partitions."""
        self.awaiting -= sources
        for source in sources:
            self._put_off.pop(source, None)
        self._forget(sources)

    def recover_later(self, sources: set[Source]) -> None:
        """Believe nothing remembered of partitions that stay ours."""
        self._forget(sources)
        self.awaiting |= sources

    def _forget(self, sources: set[Source]) -> None:
        known = [TopicPartition(*source) for source in sources if self.states.pop(source, None) is not None]
        self._consumer.incremental_unassign(known)

    def due(self, now_seconds: float) -> list[Source]:
        """What is to be recovered now: of what could not be, only what has waited for a while."""
        return sorted(source for source in self.awaiting if now_seconds >= self._put_off.get(source, ("", 0))[1])

    def recover(self, source: Source, route: Route, released: int, now_seconds: float) -> PartitionState | None:
        """The committed state of a partition, to be begun with; None where it cannot be had yet."""
        state = self._recovery.recover(*source, route, released)
        if isinstance(state, Standstill):
            self._stand(source, state, now_seconds)
            return None
        return state

    def begin(self, source: Source, state: PartitionState) -> None:
        """Read a recovered partition from where its state stands."""
        self._put_off.pop(source, None)
        self.awaiting.discard(source)
        self.states[source] = state
        self._consumer.incremental_assign([TopicPartition(*source, state.position)])
        log.info("recovered", topic=state.topic, partition=state.partition, position=state.position)

    def aim(self, plan: RoutingPlan) -> None:
        """Bring every partition to the plan, or to a view that has joined."""
        for (topic, _), state in self.states.items():
            state.aim(plan.routes[topic])

    def is_behind(self, plan: RoutingPlan) -> bool:
        """Whether views wait for their first load."""
        return any(
            not state.views[delivery.topic].joined
            for (topic, _), state in self.states.items()
            for delivery in plan.routes[topic].deliveries
        )

    def rewind(self) -> None:
        """Nothing of the open transaction counts: go back to where each partition was committed."""
        for source, state in self.states.items():
            state.abort()
            self._consumer.seek(TopicPartition(*source, state.position))

    def put_off(self, source: Source, fault: Transient, begun_seconds: float, now_seconds: float) -> None:
        """Go on without a partition that could not be recovered, at least for as long as the attempt took."""
        if self._waits(source, str(fault), now_seconds, now_seconds - begun_seconds):
            log.warning("cannot be recovered", topic=source[0], partition=source[1], fault=str(fault), cure=fault.cure)

    def _stand(self, source: Source, found: Standstill, now_seconds: float) -> None:
        """Look again in a while whether an administrator lets the partition go on."""
        if self._waits(source, "stands still", now_seconds):
            log.error(
                "stands still",
                topic=source[0],
                partition=source[1],
                position=found.position,
                quarantined=found.quarantined,
                cause="too many records in a row cannot be trusted: a bad deployment, not bad records",
                cure="have its provider publish what the contract says, then bianhe quarantine release",
            )

    def _waits(self, source: Source, why: str, now_seconds: float, least_seconds: float = 0.0) -> bool:
        """Try again in the next turn, and after that once a second; tells whether it is the first time for a reason."""
        first = self._put_off.get(source, ("", 0))[0] != why
        self._put_off[source] = why, now_seconds + max(least_seconds, 0 if first else AGAIN_SECONDS)
        return first


def sources_of(partitions: Iterable[TopicPartition]) -> set[Source]:
    """The source partitions that the client library names."""
    return {(each.topic, each.partition) for each in partitions}


def source_of(message: Message) -> Source:
    """The source partition of a consumed record."""
    topic, partition = message.topic(), message.partition()
    assert topic is not None
    assert partition is not None
    return topic, partition
