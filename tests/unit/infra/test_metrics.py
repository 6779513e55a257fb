"""The list of metrics for administrators is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from bianhe.infra import telemetry

DOCUMENT = Path(__file__).parents[3] / "infra" / "docs" / "metrics.md"


def test_the_document_lists_every_metric_with_its_labels() -> None:
    served = {
        metric._name: ", ".join(metric._labelnames)
        for metric in vars(telemetry).values()
        if isinstance(metric, MetricWrapperBase)
    }
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 10
    assert dict(rows) == served
