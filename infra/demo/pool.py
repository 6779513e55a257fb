"""Worker processes of the demo: one for each of two cores, ended with it whatever happens."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Final

from bianhe.infra.demo.tasks import begin

WORKERS: Final = 2


@contextmanager
def worker_pool(log: Path) -> Iterator[Pool]:
    """Processes that Ctrl-C reaches through their parent alone; leaving the block ends them at once."""
    # Forking a process that has Kafka clients leaves their threads behind.
    with multiprocessing.get_context("spawn").Pool(WORKERS, begin, (log,)) as pool:
        yield pool
