"""The command line as a user meets it: in a process of its own, or quicker in this one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from bianhe.infra import cli

Run = Callable[..., tuple[int, str, str]]
"""Takes the words behind `bianhe`; gives exit code, output, errors."""


def command(*arguments: object) -> list[str]:
    """The command line for a process of its own."""
    return [sys.executable, "-c", "from bianhe.infra.cli import main; main()", *map(str, arguments)]


def bianhe(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


def bianhe_here(*arguments: object, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: without the seconds that its own takes to start, where it is asked again."""
    words, out, err = ["bianhe", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", words),
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            code = 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def in_this_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bianhe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def explained(said: str) -> bool:
    """Whether an error is told with its cause or cure, once, and nothing beside it."""
    lines = said.splitlines()
    told = any(line.startswith(("cause", "cure")) for line in lines)
    return told and [line for line in lines if line.startswith("error")] == lines[:1] and "Traceback" not in said
