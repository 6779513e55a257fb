"""Hours of faults: `python -m faults.run --minutes N --seed S`. Exit code 1 on any finding.

Each round takes a new city through the plan of one seed, so a finding is replayed by its round's seed alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import structlog
from faults.bench import Outcome, play

ROUND_SECONDS: Final = 120.0
REPORTS: Final = Path(__file__).parents[2] / ".cache" / "faults"


def main() -> int:
    """Play rounds until the time is over; the last line is the summary."""
    parser = argparse.ArgumentParser(description="Faults on a real broker and real workers, judged by the checker.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults are done, recovery not counted")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first round; the next has the next number")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="a folder for the reports")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    left, seed, outcomes = 60 * options.minutes, options.seed, list[Outcome]()
    while left > 0:
        outcomes.append(_round(options.reports, seed, min(left, ROUND_SECONDS)))
        left, seed = left - ROUND_SECONDS, seed + 1
    print(summary(outcomes), flush=True)
    return 0 if all(outcome.valid for outcome in outcomes) else 1


def _round(reports: Path, seed: int, seconds: float) -> Outcome:
    folder = reports / f"seed-{seed}-{seconds:.0f}s"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"round   seed {seed}, {seconds:.0f} s", flush=True)
    begun = time.monotonic()
    outcome = play(folder, seed, seconds, lambda line: print(line, flush=True))
    report = json.dumps(vars(outcome), ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(report, encoding="utf-8")
    shutil.rmtree(folder / "kafka", ignore_errors=True)
    print(f"{outcome.verdict}   {time.monotonic() - begun:.0f} s; report {folder / 'report.json'}", flush=True)
    for finding in outcome.findings[:20]:
        print(f"  {finding}", flush=True)
    if not outcome.valid:
        print(f"  replay: infra/bin/faults --minutes {seconds / 60:g} --seed {seed}", flush=True)
    return outcome


def summary(outcomes: list[Outcome]) -> str:
    """Everything in one line."""
    faults = sum((outcome.faults for outcome in outcomes), Counter())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()) if count)
    bad = [outcome.seed for outcome in outcomes if not outcome.valid]
    verdict = f"FINDINGS in seeds {', '.join(map(str, bad))}" if bad else "valid"
    return (
        f"faults  {len(outcomes)} rounds · {sum(faults.values())} acts ({kinds}) · "
        f"{sum(o.published for o in outcomes):,} published · {sum(o.deliveries for o in outcomes):,} deliveries · "
        f"{sum(o.revoked for o in outcomes)} of {sum(o.granted for o in outcomes)} grants revoked: {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
