"""How many workers one machine runs."""

from __future__ import annotations

from collections.abc import Iterable


def worker_count(cores: int, partitions: Iterable[int]) -> int:
    """The most workers that `cores` can carry and that share the partitions of every source evenly.

    Three workers on four partitions are slower than two: one of them does half of the work. A source with one partition
    cannot be shared, so it does not count.
    """
    shared = {count for count in partitions if count > 1}
    even = [count for count in range(1, cores + 1) if all(each % count == 0 for each in shared)]
    return max(even) if shared else 1
