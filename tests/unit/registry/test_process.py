"""The registry's process ends when one of its tasks does."""

from __future__ import annotations

import signal
import threading
import time
from typing import cast

import pytest
import uvicorn

from bianhe.registry.__main__ import _serve
from bianhe.schemas.errors import Fatal


class Server:
    should_exit = False

    def run(self) -> None:
        while not self.should_exit:
            time.sleep(0.01)


def waits(stopping: threading.Event) -> None:
    stopping.wait()


@pytest.mark.parametrize("fault", [Fatal("the log is broken"), OverflowError("date value out of range")])
def test_a_task_that_ends_by_any_fault_ends_the_registry_and_has_failed(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(_: threading.Event) -> None:
        raise fault

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    failed = _serve(cast(uvicorn.Server, Server()), {"relay": waits, "revocations": ends})
    assert failed == [fault]
