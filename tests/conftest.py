"""Says with every run which engines of the slicer it tried."""

from __future__ import annotations

import pytest

from bianhe.schemas.slicer import ACTIVE, ENGINES, Engine


def pytest_report_header() -> str:
    return f"slicer: {', '.join(ENGINES)}; active is {ACTIVE}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Engine.KERNEL not in ENGINES:
        terminalreporter.section("THE SLICER'S KERNEL WAS NOT TESTED", red=True, bold=True)
        terminalreporter.line("It is not built: install a C compiler and run infra/bin/setup again.")
