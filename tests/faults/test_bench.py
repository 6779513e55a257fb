"""A short run of the bench itself: real workers, the real broker, one seed of faults, judged from the raw logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.bench import play

SEED, SECONDS = 375437, 20.0
"""Of the plans this short, one that has nearly every kind of fault: the registry is killed, the broker is not."""


@pytest.mark.timeout(600)
def test_under_a_seed_of_faults_nothing_is_lost_doubled_torn_or_beyond_a_revocation(tmp_path: Path) -> None:
    outcome = play(tmp_path, SEED, SECONDS, print)
    assert outcome.valid, (outcome.verdict, outcome.findings, outcome.acts)
    assert outcome.requests["hold END_TXN"] > 0 < outcome.requests["hold TXN_OFFSET_COMMIT"]
    assert outcome.revoked > 0
    assert outcome.deliveries > outcome.published / 2
