"""`bianhe router`: the workers of a second machine take their share, and let go of it when they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from bianhe.infra.cli.console import Exit
from support.broker import eventually
from support.city import a_city
from support.command_line import command
from support.policy_bodies import SOURCE, channel, population, writers
from support.records import person


def test_the_workers_of_a_second_machine_share_the_sources(tmp_path: Path) -> None:
    with a_city(tmp_path) as city:
        city.decide(writers(2), population(4), channel())
        with subprocess.Popen(
            command("router", "--first", "1", "--workers", "1"),
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | city.environment | {"BIANHE_HOME": str(tmp_path / "second")},
        ) as second:
            log = tmp_path / "second" / "logs" / "router-1.log"
            assert eventually(lambda: log.exists() and log.read_text().count("recovered") >= 2)
            city.publish(SOURCE, b"someone", person())
            assert city.routed(SOURCE)
            second.send_signal(signal.SIGINT)
            _, said = second.communicate(timeout=60)
        assert second.returncode == Exit.INTERRUPTED
        assert said.startswith("✓ bus.router.1")
        city.publish(SOURCE, b"someone", person())
        assert city.routed(SOURCE)
