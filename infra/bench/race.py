"""Rounds of contestants in turn on one broker: how many deliveries a second, and how much CPU each costs."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from bianhe.infra.bench import contestants
from bianhe.infra.bench.city import PARTITIONS, WORKERS, City, Source
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, Sample, figure
from bianhe.infra.closing import Closing
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.schemas.errors import Transient

T = TypeVar("T")
Run = Callable[[], Iterable[tuple[T, Sequence[Sample]]]]
"""Yields the samples of one round, each under the name of what ran."""
_TICK: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 120.0

Told = Callable[[str], None]


class StoodStill(Transient):
    """A contestant did not finish its round."""


@dataclass(frozen=True)
class Race:
    """One city, its source records, and how many of them a round has."""

    city: City
    values: Sequence[bytes]
    records: Callable[[int], int]
    """By number of views: about as many deliveries for each."""
    warm_up: float = 0.1
    """How much of a round the router's workers route before they are measured."""

    def prepare(self, kind: Kind, views: int) -> None:
        """Make a contestant's topics."""
        names = [contestants.topic(kind, views, view) for view in range(views)]
        with Admin(self.city.broker.connection()) as admin:
            admin.create_topics(dict.fromkeys(names, Topic(PARTITIONS, {})))

    def routers(self, groups: Mapping[T, Sequence[Source]], workers: int = WORKERS) -> Iterator[tuple[T, list[Sample]]]:
        """A round of the router for each group of sources in turn: filled while the workers are held, then routed.

        All is routed once before, in small: what a worker does once, and what it does cold, is not what an event costs.
        """
        pids = self.city.start_router(workers)
        try:
            for sources in groups.values():
                self._routed(sources, pids, self.warm_up)
            for name, sources in groups.items():
                yield name, self._routed(sources, pids, 1)
        finally:
            self.city.children.stop()

    def _routed(self, sources: Sequence[Source], pids: Sequence[int], share: float) -> list[Sample]:
        views = sources[0].views
        records = int(self.records(views * len(sources)) * share) // PARTITIONS * PARTITIONS
        with self._watch(sources) as watch:
            with self.city.held(pids):
                self.city.fill(sources, self.values, records)
            return watch.until(records * len(sources), pids, views)

    def _watch(self, sources: Sequence[Source]) -> _Watch:
        return _Watch(self.city, [(each.mailboxes[0], place) for each in sources for place in range(each.partitions)])

    def contestant(self, kind: Kind, views: int) -> list[Sample]:
        """A round of a contestant; it begins when all its processes are ready."""
        context = multiprocessing.get_context("spawn")
        records, ready = self.records(views), context.Barrier(WORKERS + 1)
        processes = [
            context.Process(
                target=contestants.run,
                args=(kind, self.city.broker.connection(), views, worker, self.values, records, ready),
                daemon=True,
            )
            for worker in range(WORKERS)
        ]
        places = [(contestants.topic(kind, views, 0), partition) for partition in range(PARTITIONS)]
        with _Watch(self.city, places) as watch:
            for process in processes:
                process.start()
            try:
                ready.wait(_PATIENCE_SECONDS)
                return watch.until(records, [process.pid or 0 for process in processes], views)
            finally:
                for process in processes:
                    process.join(10)
                    process.kill()


def records_for(deliveries: int, views: int) -> int:
    """How many source records a round has: with one view they cost the most, and half is enough."""
    return max(deliveries // max(views, 2) // PARTITIONS, 1) * PARTITIONS


def rounds_of(
    runs: Sequence[Run[T]], rounds: int, told: Told, warm_up: Sequence[Run[T]] | None = None
) -> dict[T, list[Figure]]:
    """Run each in turn, a warm-up round (of the same, if there is no other) and then `rounds`."""
    measured: dict[T, list[Figure]] = {}
    for number in range(rounds + 1):
        for run in runs if number or warm_up is None else warm_up:
            for name, samples in run():
                if not number:
                    told(f"warm-up  {name}")
                    continue
                found = figure(samples)
                told(f"round {number} of {rounds}  {name}: {found.rate:,.0f}/s, {found.client_us:.2f} µs of CPU each")
                measured.setdefault(name, []).append(found)
    return measured


class _Watch(Closing):
    """Samples the stable end of one topic of many, which stands for them all, and the processes' CPU."""

    def __init__(self, city: City, places: Sequence[tuple[str, int]]) -> None:
        self._broker = city.broker
        self._places = [TopicPartition(*place) for place in places]
        self._consumer = clients.end_consumer(city.broker.connection(), "bench", "read_committed")
        self._base = self._end()

    def close(self) -> None:
        self._consumer.close()

    def until(self, records: int, pids: Sequence[int], views: int) -> list[Sample]:
        """Sample until so many records, each delivered to so many views, are stable; raises StoodStill."""
        samples: list[Sample] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not samples or samples[-1].deliveries < records * views:
            if time.monotonic() > deadline:
                raise StoodStill(
                    f"{samples[-1].deliveries} of {records * views} deliveries in {_PATIENCE_SECONDS:.0f} s",
                    cure="run the bench on a machine with nothing else to do",
                )
            written = (self._end() - self._base) * views
            samples.append(Sample(time.monotonic(), written, cpu_seconds(pids), cpu_seconds([self._broker.pid])))
            time.sleep(_SAMPLE_SECONDS)
        return samples

    def _end(self) -> int:
        return sum(self._end_of(place) for place in self._places)

    def _end_of(self, place: TopicPartition) -> int:
        # A topic that was just made has no leader for a moment.
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                return self._consumer.get_watermark_offsets(place, timeout=30)[1]
            except KafkaException as error:
                if error.args[0].code() not in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                    raise
                time.sleep(_SAMPLE_SECONDS)
        raise StoodStill(f"{place.topic} has no leader")


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes, all their threads, have used since they began."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
    except FileNotFoundError:
        return 0.0
    return (int(user) + int(system)) / _TICK
