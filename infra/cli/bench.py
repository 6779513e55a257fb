"""`bianhe bench`: how fast the product is on this machine; every result is a ratio within one run."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from bianhe.infra.bench import latency as latency_bench
from bianhe.infra.bench import policy as policy_bench
from bianhe.infra.bench import publishing, slicing, subscribing
from bianhe.infra.bench import router as router_bench
from bianhe.infra.bench import scale as scale_bench
from bianhe.infra.cli.console import Output, OutputOption, err, out, show
from bianhe.schemas.slicer import ACTIVE

app = typer.Typer(no_args_is_help=True, help="How fast this product is on this machine, as ratios within one run.")
Quick = Annotated[bool, typer.Option("--quick", help="fewer records and rounds: some two minutes, and less sure")]


@app.command()
def router(
    quick: Quick = False,
    output: OutputOption = Output.TABLE,
    deliveries: Annotated[int | None, typer.Option(min=100_000, help="of each contestant in each round")] = None,
) -> None:
    """The router against programs that write the same bytes and do nothing else; about eight minutes."""
    count, rounds = deliveries or (600_000 if quick else 1_200_000), 1 if quick else 3
    with _folder() as folder:
        _report(lambda: router_bench.race(folder, count, rounds, quick, _tell), output)


@app.command()
def latency(
    quick: Quick = False,
    output: OutputOption = Output.TABLE,
    rate: Annotated[list[int] | None, typer.Option(min=1, help="events a second; may be given again")] = None,
) -> None:
    """From the provider's hands to the subscriber's at given rates; about two and a half minutes."""
    rates, seconds, rounds = rate or [1000, 5000], 10.0, 1 if quick else 3
    with _folder() as folder:
        _report(lambda: latency_bench.measure(folder, rates, seconds, rounds, _tell), output)


@app.command()
def scale(quick: Quick = False, output: OutputOption = Output.TABLE) -> None:
    """What a delivery costs as views, resources, partitions, workers and grants grow; about six minutes."""
    deliveries, rounds, resources, grants = (500_000, 1, 10, 10_000) if quick else (800_000, 3, 50, 100_000)
    with _folder() as folder:
        _report(lambda: scale_bench.grow(folder, deliveries, rounds, resources, grants, _tell), output)


@app.command()
def policy(quick: Quick = False, output: OutputOption = Output.TABLE) -> None:
    """Compile, swap and revoke under load, and what access rules cost; about six minutes."""
    grants, mailboxes, rules, seconds = (10_000, 500, 10_000, 8.0) if quick else (100_000, 5_000, 100_000, 30.0)
    with _folder() as folder:
        _report(lambda: policy_bench.measure(folder, grants, mailboxes, rules, seconds, _tell), output)


@app.command()
def slicer(quick: Quick = False, output: OutputOption = Output.TABLE) -> None:
    """The engines of the slicer against decoding and encoding again; about a minute."""
    _report(lambda: slicing.compare((1, 5, 20, 50), 10_000 if quick else 40_000, 2 if quick else 5), output)


@app.command()
def publish(quick: Quick = False, output: OutputOption = Output.TABLE) -> None:
    """A provider's events: checked, encoded and acknowledged, against doing less; about a minute."""
    count, rounds = (20_000, 2) if quick else (100_000, 5)
    with _folder() as folder:
        _report(lambda: publishing.compare(folder, count, rounds), output)


@app.command()
def subscribe(quick: Quick = False, output: OutputOption = Output.TABLE) -> None:
    """A subscriber's records: decoded and verified, against fastavro's bare decode; half a minute."""
    _report(lambda: subscribing.compare(20_000 if quick else 100_000, 3 if quick else 7), output)


def _tell(text: str) -> None:
    err.print(f"· {text}")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bianhe-bench-") as folder:
        yield Path(folder)


def _report(run: Callable[[], dict[str, Any]], output: Output) -> None:
    begun, load = time.monotonic(), os.getloadavg()[0]
    found = run()
    found["conditions"] |= _conditions() | {
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "seconds": round(time.monotonic() - begun),
    }
    if output is Output.JSON:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    show(found["figures"], output)
    for title in ("ratios", "conditions"):
        out.print(f"\n[bold]{title}[/]")
        for name, value in found[title].items():
            out.print(f"  {name:34} {value}")


def _conditions() -> dict[str, object]:
    return {
        "bianhe": metadata.version("bianhe"),
        "engine": ACTIVE.value,
        "python": platform.python_version(),
        "confluent_kafka": metadata.version("confluent-kafka"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "broker": "Apache Kafka 4.4.0, embedded, one node, same machine",
    }
