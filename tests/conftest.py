"""Says with every run which engines of the slicer it tried; how long an example takes is no test's matter."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from bianhe.schemas.slicer import ACTIVE, ENGINES, Engine

settings.register_profile(
    "patient",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("patient")


def pytest_report_header() -> str:
    return f"slicer: {', '.join(ENGINES)}; active is {ACTIVE}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Engine.KERNEL not in ENGINES:
        terminalreporter.section("THE SLICER'S KERNEL WAS NOT TESTED", red=True, bold=True)
        terminalreporter.line("It is not built: install a C compiler and run infra/bin/setup again.")
