"""Workers share the partitions of every source evenly."""

from __future__ import annotations

import pytest

from bianhe.consumers.router.workers import worker_count


@pytest.mark.parametrize(
    ("cores", "partitions", "count"),
    [
        (1, [4], 1),
        (2, [4, 4], 2),
        (3, [4], 2),
        (8, [4], 4),
        (8, [4, 8], 4),
        (8, [8, 1], 8),
        (6, [4, 6], 2),
        (8, [1, 1], 1),
        (8, [], 1),
    ],
)
def test_the_most_workers_that_divide_every_partition_count(cores: int, partitions: list[int], count: int) -> None:
    assert worker_count(cores, partitions) == count
