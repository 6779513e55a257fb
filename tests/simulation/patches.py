"""What the router's modules see in a simulation: simulated clients and time, nothing that talks, what is remembered."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from simulation import clients
from simulation.memory import CODECS, MEMORY, Contracts

from bianhe.consumers.router import plan
from bianhe.consumers.router.kafka import assignment, loads, policy, recovery, worker, writer
from bianhe.infra.kafka import log


class Clock:
    """Stands in the place of `time`: it moves a little whenever somebody looks."""

    def restart(self, chance: random.Random) -> None:
        self._chance = chance
        self._now = 0.0
        self.tick = 0.03
        """The most that it moves at a look."""

    def monotonic(self) -> float:
        self._now += self.tick * self._chance.random()
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


CLOCK = Clock()


class Silent:
    """Stands in the place of loggers and metrics: takes everything and says nothing."""

    def __getattr__(self, name: str) -> Silent:
        setattr(self, name, self)  # a second time it is found sooner
        return self

    def __call__(self, *said: object, **facts: object) -> Silent:
        return self


@contextmanager
def simulated() -> Iterator[None]:
    """The router's modules see simulated clients and time inside this block."""
    with ExitStack() as patches:
        for module in (worker, writer, recovery, loads, log):
            patches.enter_context(patch.object(module, "clients", clients))
        for module in (worker, loads, log):
            patches.enter_context(patch.object(module, "time", CLOCK))
        patches.enter_context(patch.object(worker, "leave_group", clients.leave_group))
        patches.enter_context(patch.object(policy, "PinnedKeys", MEMORY))
        patches.enter_context(patch.object(policy, "fold", MEMORY.fold))
        patches.enter_context(patch.object(policy, "compile_plan", MEMORY.compile_plan))
        patches.enter_context(patch.object(plan, "Contract", Contracts))
        patches.enter_context(patch.object(plan, "Slicer", MEMORY.slicer))
        for record, codec in CODECS.items():
            patches.enter_context(patch.multiple(record, **codec))
        for module in (worker, policy, assignment, loads):
            patches.enter_context(patch.object(module, "log", Silent()))
        patches.enter_context(patch.object(policy, "gc", Silent()))
        patches.enter_context(patch.object(worker, "telemetry", Silent()))
        # A history that is over was cut into pieces that go by themselves.
        gc.disable()
        patches.callback(gc.enable)
        yield
