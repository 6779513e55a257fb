"""Rounds of contestants in turn on one broker: how many deliveries a second, and how much CPU each costs."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from bianhe.infra.bench import contestants
from bianhe.infra.bench.city import PARTITIONS, WORKERS, City, Source
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, Sample, figure
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.schemas.errors import Transient

T = TypeVar("T")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 120.0


Run = Callable[[], Figure]
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

    def prepare(self, kinds: Sequence[Kind], views: Sequence[int]) -> None:
        """Make the contestants' topics."""
        names = [contestants.topic(kind, each, view) for kind in kinds for each in views for view in range(each)]
        with Admin(self.city.broker.connection()) as admin:
            admin.create_topics(dict.fromkeys(names, Topic(PARTITIONS, {})))

    def router(self, sources: Sequence[Source], workers: int = WORKERS) -> Figure:
        """A round of the router: its sources are filled while no worker runs, then all of them are routed."""
        views = sources[0].views
        records = self.records(views * len(sources))
        self.city.fill(sources, self.values, records)
        places = [(each.mailboxes[0], partition) for each in sources for partition in range(each.partitions)]
        with _Watch(self.city, places, views) as watch:
            pids = self.city.start_router(workers)
            try:
                return figure(watch.until(records * views * len(sources), pids))
            finally:
                self.city.children.stop()

    def contestant(self, kind: Kind, views: int) -> Figure:
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
        with _Watch(self.city, places, views) as watch:
            for process in processes:
                process.start()
            try:
                ready.wait(_PATIENCE_SECONDS)
                return figure(watch.until(records * views, [process.pid or 0 for process in processes]))
            finally:
                for process in processes:
                    process.join(10)
                    process.kill()


def records_for(deliveries: int, views: int) -> int:
    """How many source records a round has: with one view they cost the most, and a quarter is enough."""
    return max(deliveries // max(views, 4) // PARTITIONS, 1) * PARTITIONS


def rounds_of(runs: Mapping[T, Run], rounds: int, told: Told) -> dict[T, list[Figure]]:
    """Run each in turn, a warm-up round and then `rounds`."""
    measured: dict[T, list[Figure]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            found = run()
            told(f"round {number} of {rounds}  {name}: {found.rate:,.0f}/s, {found.client_us:.2f} µs of CPU each")
            if number:
                measured[name].append(found)
    return measured


class _Watch:
    """Samples the stable end of one topic of many, which stands for them all, and the processes' CPU."""

    def __init__(self, city: City, places: Sequence[tuple[str, int]], views: int) -> None:
        self._broker = city.broker
        self._views = views
        self._places = [TopicPartition(*place) for place in places]
        self._consumer = clients.end_consumer(city.broker.connection(), "bench", "read_committed")
        self._base = self._end()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def until(self, deliveries: int, pids: Sequence[int]) -> list[Sample]:
        """Sample until so many deliveries are stable; raises StoodStill."""
        samples: list[Sample] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not samples or samples[-1].deliveries < deliveries:
            if time.monotonic() > deadline:
                raise StoodStill(
                    f"{samples[-1].deliveries} of {deliveries} deliveries in {_PATIENCE_SECONDS:.0f} s",
                    cure="run the bench on a machine with nothing else to do",
                )
            written = (self._end() - self._base) * self._views
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
