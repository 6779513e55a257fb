"""An access rule that an administrator adds by hand, outside the catalog: found and closed by the commands of sync."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from bianhe.infra.demo.recount import Difference
from bianhe.infra.demo.stage import Stage
from bianhe.infra.kafka import access_rules
from bianhe.infra.kafka.admin import Admin

IN_SYNC, DIFFERENCES = 0, 3
_SECONDS: Final = 60.0
_COMMAND: Final = (sys.executable, "-c", "from bianhe.infra.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Drift:
    """The rule that was added, and exit code and words of `sync plan`, `sync apply` and `sync plan` again."""

    rule: str
    found: tuple[int, str]
    closed: tuple[int, str]
    after: tuple[int, str]

    @property
    def steps(self) -> tuple[tuple[int, str], ...]:
        return (self.found, self.closed, self.after)

    @property
    def differences(self) -> list[Difference]:
        checks = [
            ("exit code of sync plan", DIFFERENCES, self.found[0]),
            ("rule in the plan", True, self.rule in " ".join(self.found[1].split())),
            ("exit code of sync apply", IN_SYNC, self.closed[0]),
            ("exit code of sync plan afterwards", IN_SYNC, self.after[0]),
        ]
        return [Difference("drift", what, expected, found) for what, expected, found in checks if expected != found]


def drift(stage: Stage, account: str, topic: str) -> Drift:
    """Let an account read a topic without a grant, then see what sync makes of it."""
    rule = access_rules.AccessRule(f"User:{account}", "TOPIC", topic, "READ")
    with Admin(stage.admin) as admin:
        admin.create_rules([rule])
    return Drift(f"READ {account} on {topic}", _sync(stage, "plan"), _sync(stage, "apply"), _sync(stage, "plan"))


def _sync(stage: Stage, verb: str) -> tuple[int, str]:
    done = subprocess.run(
        [*_COMMAND, "sync", verb],
        env={**os.environ, "BIANHE_HOME": str(stage.bus.settings.home), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()
