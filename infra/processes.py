"""This process: how it makes very much at once, and the processes that work for it on other cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool


@contextmanager
def worker_pool(at_most: int, begin: Callable[..., object], *arguments: object) -> Iterator[Pool]:
    """A process for each core, each begun with a call; Ctrl-C is for their parent, and leaving the block ends them."""
    # What is ignored when a program starts stays so: not even while one imports does it hear Ctrl-C.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # Forking a process that has Kafka clients leaves their threads behind.
        pool = multiprocessing.get_context("spawn").Pool(min(at_most, os.cpu_count() or 1), begin, arguments)
    finally:
        signal.signal(signal.SIGINT, heard)
    with pool:
        yield pool


@contextmanager
def not_collecting() -> Iterator[None]:
    """Make very many values that stay: to look through them for cycles again and again takes longer than to make them.

    Who keeps them for ever calls `gc.freeze()` within the block.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
