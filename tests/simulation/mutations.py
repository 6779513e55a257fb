"""Broken routers, each by one thing that it does not do: a simulation that does not find one of them proves little.

`python -m simulation.mutations` tells the first seed that finds each, after a change of worker or simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from confluent_kafka import Consumer, TopicPartition
from simulation.patches import simulated
from simulation.run import findings

from bianhe.consumers.router import routing
from bianhe.consumers.router.cap import Cap
from bianhe.consumers.router.kafka import loads, recovery
from bianhe.consumers.router.kafka.assignment import Source
from bianhe.consumers.router.kafka.policy import FollowedPolicy
from bianhe.consumers.router.kafka.worker import Worker
from bianhe.consumers.router.kafka.writer import FaultWatch
from bianhe.consumers.router.loading import Loading, followed
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route, RoutingPlan
from bianhe.schemas.errors import Transient
from bianhe.schemas.records.state import Position

SEEDS_MAX: Final = 5_000


@dataclass(frozen=True)
class Mutation:
    """What is put in the place of a function, and a seed whose history finds it."""

    seed: int
    owner: Any
    name: str
    instead: Callable[..., object]

    def found(self, first: int) -> int | None:
        """The first seed from this one on that finds it, None where many do not."""
        with simulated(), patch.object(self.owner, self.name, self.instead):
            return next((seed for seed in range(first, first + SEEDS_MAX) if findings(seed)), None)


def _nothing(*arguments: object) -> None:
    pass


def _rewind_keeping_state(worker: Worker) -> None:
    worker._backlog.clear()
    for (topic, partition), state in worker._assignment.states.items():
        worker._consumer.seek(TopicPartition(topic, partition, state.committed))


def _renewed_keeping_state(worker: Worker) -> bool:
    return worker._writer.renewed()


_renewed = Worker._renewed


def _renewed_keeping_policy(worker: Worker) -> bool:
    _renewed(worker)
    return False


def _renewed_keeping_acknowledgement(worker: Worker) -> bool:
    acknowledged = worker._acknowledged
    renewed = _renewed(worker)
    worker._acknowledged = acknowledged
    return renewed


def _revoked_without_commit(worker: Worker, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    worker._let_go({(each.topic, each.partition) for each in partitions})


def _forgotten_keeping_backlog(worker: Worker, sources: set[Source]) -> None:
    worker._see_who_is_behind()


def _position_one_too_far(state: PartitionState, policy_version: int) -> Position:
    return Position(state.position + 1, policy_version)


_read_policy = FollowedPolicy._read


def _policy_half_taken(followed: FollowedPolicy) -> bool:
    known = followed._policy.version
    try:
        return _read_policy(followed)
    except Transient:
        if followed._policy.version != known:
            followed.plan = followed._compiled.delivering_to(followed._topics)
        raise


_aim = PartitionState.aim


def _aimed_once(state: PartitionState, route: Route) -> None:
    if state._route is None:
        _aim(state, route)


_abort = PartitionState.abort


def _aborted_keeping_held(state: PartitionState) -> None:
    state._undo.clear()
    _abort(state)


def _removed_for_nobody(
    record: routing.SourceRecord, key: bytes, state: PartitionState, policy_version: int
) -> routing.Routed:
    for lane, _ in enumerate(state.topics):
        state.lanes.kept_back[lane] += 1
    return routing.Routed([], [])


def _retracted_for_nobody(
    key: bytes, offset: int, values: list[bytes | None], state: PartitionState, policy_version: int
) -> list[routing.Null]:
    for lane, delivery in state.filtered:
        if values[lane] is not None:
            state.enter(delivery.topic, key)
    return []


_read_to = recovery._StateLog.read_to


def _read_without_waiting(log: recovery._StateLog, high_watermark: int) -> bool:
    _read_to(log, high_watermark)
    return True


def _nothing_unseen(worker: Worker, state: PartitionState) -> frozenset[str]:
    return frozenset()


def _followed_from_memory(
    loadings: Mapping[tuple[Source, str], Loading], plan: RoutingPlan, states: Mapping[Source, PartitionState]
) -> dict[tuple[Source, str], Loading]:
    behind = followed(loadings, plan, states)
    for (source, topic), loading in loadings.items():
        if (source, topic) in behind:
            loading.follow(plan.routes[source[0]], topic)
            behind[source, topic] = loading
    return behind


MUTATIONS: Final[Mapping[str, Mutation]] = {
    "an abort is forgotten": Mutation(4, Worker, "_rewind", _rewind_keeping_state),
    "an abort keeps entities": Mutation(234, PartitionState, "abort", _aborted_keeping_held),
    "an abort keeps the count of bad records": Mutation(348, Cap, "abort", _nothing),
    "an abort forgets the count of bad records": Mutation(1, Cap, "commit", _nothing),
    "an abort keeps what a load did": Mutation(4, Loading, "abort", _nothing),
    "a lost request is not noticed": Mutation(13, FaultWatch, "emit", _nothing),
    "a new producer, and state from memory": Mutation(8, Worker, "_renewed", _renewed_keeping_state),
    "a new producer, and policy from memory": Mutation(13156, Worker, "_renewed", _renewed_keeping_policy),
    "a new producer, and no new acknowledgement": Mutation(48, Worker, "_renewed", _renewed_keeping_acknowledgement),
    "a partition goes without a commit": Mutation(125, Worker, "_on_revoke", _revoked_without_commit),
    "a partition is lost without an abort": Mutation(1571, Worker, "_on_lost", _revoked_without_commit),
    "a partition goes and what was read stays": Mutation(79, Worker, "_forget_backlog", _forgotten_keeping_backlog),
    "recovery does not wait for open transactions": Mutation(56, recovery._StateLog, "read_to", _read_without_waiting),
    "recovery does not find entities again": Mutation(12, recovery.Recovery, "_rebuild", _nothing),
    "recovery does not look for a topic that a state names": Mutation(598, Worker, "_unseen", _nothing_unseen),
    "a load goes on from memory": Mutation(626, loads, "followed", _followed_from_memory),
    "a position is one too far": Mutation(1, PartitionState, "state", _position_one_too_far),
    "a policy is half taken where topics cannot be asked for": Mutation(
        198, FollowedPolicy, "_read", _policy_half_taken
    ),
    "a new plan is not followed": Mutation(1, PartitionState, "aim", _aimed_once),
    "a removal is forgotten": Mutation(2, routing, "_remove", _removed_for_nobody),
    "a retraction is forgotten": Mutation(4, routing, "retractions", _retracted_for_nobody),
}


if __name__ == "__main__":
    for what, mutation in MUTATIONS.items():
        print(f"{what:50s} {mutation.found(1)}", flush=True)
