"""`bianhe demo` as a newcomer runs it, with nothing in the home directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bianhe.infra.embedded.jars import default_cache
from support.broker import eventually, processes_on

COMMAND = (sys.executable, "-c", "from bianhe.infra.cli import main; main()", "demo")
RESOURCES = ("population", "legal-entity", "geospatial", "licence")


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The demo in a session of its own, as a terminal runs it; nothing but the jars is shared with this user."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*COMMAND, "--home", str(folder / "demo"), *options],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(default_cache().parent.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def assert_in_order(text: str, pieces: Sequence[str]) -> None:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        assert at >= 0, f"{piece!r} is missing, or comes too early, in:\n{text}"


def test_the_story_ends_with_0_and_every_number_equal_to_the_recount(tmp_path: Path) -> None:
    process = start(tmp_path, "--events", "120", "--output", "json")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    told = [
        "catalog: 4 resources",
        "27 granted, 1 refused, 1 not taken",
        "cluster in sync",
        "模拟数据  four providers publish",
        "480 events →",
        "模拟数据  what every department received",
        "equal in all 27 cells",
        "模拟数据  one event, 死亡注销",
        "refused by the broker: TOPIC_AUTHORIZATION_FAILED",
        "政务数据共享答复函",
        "模拟数据  refused by the broker: 5 of 5",
        "模拟数据  revoked G-",
        "nothing after",
        "no grant; added outside the catalog",
        "found and closed",
        "every number equals the recount",
    ]
    assert_in_order(err, told)
    facts = json.loads(out)
    assert facts["differences"] == []
    assert facts["published"] == dict.fromkeys(RESOURCES, 120)
    assert len(facts["received"]) >= 10
    assert facts["written"]["open.population.v1.r1"] == 120
    assert facts["revoked"]["edge"] == facts["revoked"]["ends"]
    assert facts["drift"]["exit_codes"] == [3, 0, 0]
    assert set(facts["refused"].values()) == {"TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"}
    for secret in [*(tmp_path / "demo" / "secrets").iterdir(), *(tmp_path / "demo" / "keys").iterdir()]:
        assert secret.stat().st_mode & 0o077 == 0, secret
    assert processes_on(tmp_path / "demo") == []


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    process = start(tmp_path, "--events", "120")
    assert process.stdout is not None
    if not any("catalog: 4 resources" in line for line in process.stdout):
        pytest.fail(f"ended before its registry was filled: {process.communicate()[1]}")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert eventually(lambda: processes_on(tmp_path / "demo") == [])
