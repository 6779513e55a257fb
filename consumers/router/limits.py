"""When a transaction ends, and how long a worker waits for anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a transaction and of every wait; the defaults were measured on a real broker."""

    records_per_fetch: int = 200
    events_max: int = 10_000
    bytes_max: int = 8_000_000
    transaction_seconds_max: float = 0.1
    transaction_seconds_behind: float = 0.25
    """The same while more waits than one fetch brings: who reads is late anyway, and each commit costs all of them."""
    gathering_seconds: float = 0.005
    """What arrives so soon after the first record of a transaction goes with it."""
    rest_seconds: float = 0.045
    """From the end of a transaction to the next commit. Until the broker has marked the former's partitions it answers
    CONCURRENT_TRANSACTIONS, and the client asks again 20 ms later (decision 0018)."""
    idle_wait_seconds: float = 0.05
    transaction_timeout_seconds: float = 15.0
    """The broker aborts a transaction open this long: what a worker that died in one holds back."""
    quarantine_max: int = 100
    quarantine_window: int = 1_000
    """So many of so many records in a row may be quarantined; then their source partition stands still."""
    call_seconds_max: float = 30.0
    commit_seconds_max: float = 20.0
    """Longer than a transaction lives: a commit that takes so long will never return."""
    renewal_seconds_max: float = 40.0
    """Longer than `call_seconds_max`, which bounds its parts as far as the client keeps to it."""
