"""What `bianhe status` makes of offsets and metrics: what waits, rates between two looks, who does not answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bianhe.infra import telemetry
from bianhe.infra.cli.present import Offsets, Sample, readings, scrape, sources
from bianhe.schemas.names import ROUTER_GROUP
from support.policies import OPEN, SOURCE, city, mailbox

TONGJI = mailbox(2, "tongji")
ENDS = {(SOURCE, 0): 100, (SOURCE, 1): 50, (OPEN, 0): 90, (OPEN, 1): 40, (TONGJI, 0): 7, (TONGJI, 1): 0}
POSITIONS = {
    ROUTER_GROUP: {(SOURCE, 0): 90, (SOURCE, 1): 50},
    "renshe.main": {(OPEN, 0): 90, (OPEN, 1): 39},
    "renshe.report": {},
    **{f"{code}.main": {} for code in ("gongan", "tongji", "minzheng", "jiaoyu", "shangwu")},
}
KNOWN = Offsets(ENDS, POSITIONS)


def counted(worker: str, events: float) -> Sample:
    return Sample(worker, "bianhe_router_events_total", {"source": SOURCE}, events)


def test_a_source_is_behind_by_what_the_router_has_not_committed() -> None:
    [source] = sources(city(), KNOWN, [], [], 1.0)
    assert (source.source, source.end, source.position, source.behind) == (SOURCE, 150, 140, 10)
    assert source.events_per_second is None


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ([("router-0", 10.0), ("router-1", 20.0)], [("router-0", 30.0), ("router-1", 40.0)], 20.0),
        ([], [("router-0", 30.0)], 15.0),
        ([("router-0", 1000.0)], [("router-0", 4.0)], 0.0),
    ],
)
def test_a_rate_is_what_all_workers_counted_between_two_looks(
    before: list[tuple[str, float]], after: list[tuple[str, float]], rate: float
) -> None:
    looks = [[counted(*each) for each in look] for look in (before, after)]
    [source] = sources(city(), KNOWN, looks[0], looks[1], 2.0)
    assert source.events_per_second == rate


def test_every_client_that_may_read_is_listed_with_what_waits_for_it() -> None:
    waiting = {reading.group: reading.behind for reading in readings(city(), KNOWN)}
    # minzheng is being revoked and may still read; jiaoyu and shangwu may not, jiaotong is disabled.
    assert waiting == {"renshe.report": 128, "tongji.main": 6, "renshe.main": 0, "minzheng.main": 0}


def test_a_process_is_asked_where_it_wrote_and_one_that_is_gone_is_told_so(tmp_path: Path) -> None:
    telemetry.serve_metrics(tmp_path, "tested")
    gone = [{"targets": ["127.0.0.1:1"], "labels": {"process": "gone"}}]
    (tmp_path / "metrics" / "gone.json").write_text(json.dumps(gone), encoding="utf-8")
    processes, samples = scrape(tmp_path)
    assert [(each.process, each.answers) for each in processes] == [("gone", False), ("tested", True)]
    assert {sample.process for sample in samples} == {"tested"}
