"""Histories by the hundred thousand: `python -m simulation.run --histories N --seed S`. Exit code 1 on any finding.

A history follows from its seed alone: `--histories 1 --seed S` plays it again and tells what happened in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from simulation.judge import judge
from simulation.memory import POLICY_KEYS
from simulation.patches import simulated
from simulation.world import Stuck, World

from bianhe.consumers.checker.findings import Floor
from bianhe.consumers.checker.judgement import check
from support.history import History

EVENTS = 25
CHECKED_EVERY = 50
"""The checker takes longer than the rest: it reads one history of so many."""
BATCH = 250
PSEUDONYM_KEY = bytes(32)


class Finding(NamedTuple):
    seed: int
    message: str
    events: list[str]


def findings(seed: int) -> list[Finding]:
    """Play the history of a seed and judge it."""
    world = World(seed, signed=_is_checked(seed))
    try:
        return [Finding(seed, message, world.events) for message in _wrong(world, seed)]
    finally:
        world.end()


def _wrong(world: World, seed: int) -> Iterator[str]:
    try:
        world.run(EVENTS)
    except Stuck as stuck:
        yield f"does not come to rest: {stuck}"
        return
    except Exception:
        yield traceback.format_exc()
        return
    yield from judge(world.cluster, world.policy)
    if _is_checked(seed):
        history, floor = History(world.cluster.logs, {1: frozenset()}), Floor(deliveries=0)
        report = check(history, PSEUDONYM_KEY, floor, policy_keys=POLICY_KEYS)
        yield from map(str, report.findings)
        yield from report.unknown


def _is_checked(seed: int) -> bool:
    return seed % CHECKED_EVERY == 0


def batch(seeds: range) -> tuple[list[Finding], float]:
    """The findings of these seeds, and the processor time that they took."""
    begun = time.process_time()
    with simulated():
        found = [finding for seed in seeds for finding in findings(seed)]
    return found, time.process_time() - begun


def main() -> int:
    """Play all histories on all cores; the last line is the summary."""
    parser = argparse.ArgumentParser(description="Simulated histories of the router, judged each.")
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument(
        "--seed", type=int, default=1, help="the seed of the first history; the next has the next number"
    )
    options = parser.parse_args()
    begun, spent, bad = time.monotonic(), 0.0, set[int]()
    for found, seconds in _batches(options.seed, options.histories):
        spent += seconds
        bad |= {finding.seed for finding in found}
        for finding in found:
            print(f"seed {finding.seed}: {finding.message[:2000]}", flush=True)
            if options.histories == 1:
                print("\n".join(finding.events))
    verdict = f"FINDINGS in {len(bad)} seeds, first {min(bad)}" if bad else "valid"
    print(
        f"simulation  {options.histories:,} histories from seed {options.seed} · {time.monotonic() - begun:.0f} s · "
        f"{1000 * spent / options.histories:.1f} ms of processor time each: {verdict}"
    )
    return 1 if bad else 0


def _batches(first: int, histories: int) -> Iterator[tuple[list[Finding], float]]:
    seeds = [range(at, min(at + BATCH, first + histories)) for at in range(first, first + histories, BATCH)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(batch, seeds)


if __name__ == "__main__":
    sys.exit(main())
