"""`bianhe status`: how this bus does at the moment, once or until Ctrl-C."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bianhe.infra import clock
from bianhe.infra.cli import present
from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.kafka.components import component
from bianhe.infra.kafka.session import check_login
from bianhe.infra.settings import load
from bianhe.registry.policy.kafka import PolicyLog
from bianhe.schemas.names import ADMIN_ACCOUNT

Watch = Annotated[bool, typer.Option("--watch", help="again and again, until Ctrl-C")]
Every = Annotated[float, typer.Option(min=0.5, help="seconds between two looks; rates are of the time between")]


def status(watch: Watch = False, every: Every = 2.0, output: OutputOption = Output.TABLE) -> None:
    """Show processes, rates, the router's position, what waits for subscribers, freshness and alerts.

    Rates are what the workers of this machine counted between two looks. Freshness and alerts come from the monitors.
    """
    settings = load()
    admin = component(settings.kafka, ADMIN_ACCOUNT)
    _, before = present.scrape(settings.home)
    since = time.monotonic()
    check_login(admin)
    with PolicyLog(admin) as policy_log:
        while True:
            time.sleep(every if watch else 1.0)
            processes, after = present.scrape(settings.home)
            now = time.monotonic()
            policy = policy_log.catch_up()
            known = present.offsets(admin, policy)
            found = {
                "at": clock.now().isoformat(timespec="seconds"),
                "policy": policy.version,
                "processes": [asdict(each) for each in processes],
                "sources": [asdict(each) for each in present.sources(policy, known, before, after, now - since)],
                "subscribers": [asdict(each) for each in present.readings(policy, known)],
                "alerts": present.alerts(admin),
            }
            before, since = after, now
            _print(found, output, watch)
            if not watch:
                return


def _print(found: dict[str, Any], output: Output, watch: bool) -> None:
    if output is Output.JSON:
        print(json.dumps(found, ensure_ascii=False, indent=None if watch else 2), flush=True)
        return
    if watch:
        out.clear()
    out.print(f"{found['at']} · policy {found['policy']}")
    for title in ("processes", "sources", "subscribers", "alerts"):
        out.print(f"\n[bold]{title}[/]" + ("" if found[title] else f"  {_none(title, found)}"))
        if found[title]:
            show(found[title], output)


def _none(title: str, found: dict[str, Any]) -> str:
    """Why there is nothing to show: without monitors nobody raises an alert."""
    monitored = any(each["process"] == "monitors" and each["answers"] for each in found["processes"])
    if title != "alerts" or monitored:
        return "none"
    return "not known: no monitor runs" if found[title] is None else "none known; no monitor answers on this machine"
