"""`bianhe up` as a user meets it: refused, broken off, or with a jar that is not the one it should be."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bianhe.infra.cli.console import Exit
from bianhe.infra.embedded import jars
from bianhe.infra.embedded.data_directory import free_ports
from support.broker import eventually, processes_on
from support.command_line import command, explained


@contextmanager
def up(home: Path, *options: object, **environment: object) -> Iterator[subprocess.Popen[str]]:
    """`bianhe up` on its own data, in a process of its own; ended at last."""
    registry = () if "--registry-port" in options else ("--registry-port", free_port())
    variables = {name: str(value) for name, value in environment.items()}
    with subprocess.Popen(
        command("up", *registry, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BIANHE_HOME": str(home)} | variables,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    return next(free_ports(random.Random()))


@pytest.mark.parametrize("option", ["--registry-port", "--kafka-port"])
def test_b28_a_taken_port_is_explained_and_nothing_runs_on(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        with up(tmp_path, option, port) as process:
            _, said = process.communicate(timeout=120)
    error = said[said.index("error") :]
    assert process.returncode == 1
    assert explained(error)
    assert error.startswith(f"error  port {port} on 127.0.0.1 is taken\n")
    assert processes_on(tmp_path) == []


def test_b30_ctrl_c_at_any_moment_of_up_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    begun = tmp_path / "kafka" / "server.properties"
    for moment in (0.0, 0.4, 1.3, 2.6, 4.1):
        begun.unlink(missing_ok=True)
        with up(tmp_path) as process:
            assert eventually(begun.exists)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(moment)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == Exit.INTERRUPTED, said
        assert "Traceback" not in said
        assert processes_on(tmp_path) == []
    with up(tmp_path) as process:
        assert process.stdout
        assert any("Ctrl-C stops" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (Exit.INTERRUPTED, False)
    assert processes_on(tmp_path) == []


def test_b32_up_refuses_a_jar_with_a_wrong_digest(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "bianhe" / "jars"
    cache.mkdir(parents=True)
    for jar in jars.kafka_jars(jars.default_cache()):
        (cache / jar.name).symlink_to(jar)
    damaged = cache / "kafka_2.13-4.4.0.jar"
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[:-1])
    home = tmp_path / "home"
    with up(home, XDG_CACHE_HOME=tmp_path / "cache") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert explained(said)
    assert said.startswith(f"error  {damaged.name} has a wrong digest and is not used\n")
    assert "SHA-256" in said
    assert damaged.read_bytes() == content[:-1]
    assert not (home / "kafka" / "kafka").exists()
    assert processes_on(home) == []
