"""The command line as it is listed and as it is."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from unittest.mock import patch

import pytest

from bianhe.infra.cli import main
from bianhe.infra.cli.commands import COMMANDS, command
from bianhe.infra.cli.console import Exit

HEAVY = {"alembic", "confluent_kafka", "fastapi", "kafka", "pydantic", "sqlalchemy"}


def run(*arguments: str, then: str = "") -> subprocess.CompletedProcess[str]:
    program = (
        f"from bianhe.infra.cli.commands import app; app({list(arguments)}, standalone_mode=False); import sys; {then}"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_is_there_and_says_what_it_does(name: str) -> None:
    found = command(name)
    assert found.name == name
    assert found.help.startswith(COMMANDS[name].rstrip("."))


def test_help_imports_nothing_heavy() -> None:
    answer = run("--help", then=f"print(*{HEAVY!r} & sys.modules.keys(), file=sys.stderr)")
    assert (answer.returncode, answer.stderr) == (0, "\n")
    assert all(name in answer.stdout for name in COMMANDS)


def test_the_version_is_the_packages_own() -> None:
    assert run("--version").stdout == f"bianhe {metadata.version('bianhe')}\n"


def test_ctrl_c_while_the_command_is_still_being_imported_leaves_no_trace() -> None:
    program = """
import builtins
from bianhe.infra.cli import main

def pressed(name, *rest, importing=builtins.__import__):
    if name.startswith("typer"):
        raise KeyboardInterrupt
    return importing(name, *rest)

builtins.__import__ = pressed
main()
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (Exit.INTERRUPTED, "stopped\n")


@pytest.mark.parametrize(("cause", "ends"), [(KeyboardInterrupt(), SystemExit), (ValueError(), SystemError)])
def test_ctrl_c_that_a_c_callback_swallowed_is_obeyed_too(cause: BaseException, ends: type[BaseException]) -> None:
    def run() -> None:
        raise SystemError("returned a result with an exception set") from cause

    with patch("bianhe.infra.cli.commands.run", run), pytest.raises(ends) as ended:
        main()
    if isinstance(ended.value, SystemExit):
        assert ended.value.code == Exit.INTERRUPTED
