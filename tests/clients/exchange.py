"""A bus in a folder with the sample catalog, handled by its command line alone, as an administrator does."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from clients.languages import command
from clients.scenario import MAILBOX_ITEMS, MASK, RESOURCE, ROW_RULE

ROOT = Path(__file__).parents[2]
_ASKED = (
    *("--until", "2099-12-31", "--purpose", "业务协同", "--declare"),
    *("--basis", "社会保险法 第五十七条第三款"),
    *("--scenario", "社会保险登记"),
)


class Exchange:
    """The commands of `bianhe` against the bus in `home`; raises languages.Failed where one fails."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._program = str(Path(sys.executable).with_name("bianhe"))

    def bianhe(self, *words: str, good: tuple[int, ...] = (0,)) -> str:
        environment = {**os.environ, "BIANHE_HOME": str(self._home)}
        return command(ROOT, self._program, *words, env=environment, good=good)

    def import_catalog(self) -> None:
        self.bianhe("catalog", "import", "infra/demo/catalog.toml")

    def grant(self, department: str) -> None:
        """Give a department the open channel, and a mailbox with a mask and a row rule."""
        asked = ("application", "submit", "--department", department, "--resource", RESOURCE, *_ASKED)
        self.bianhe(*asked, "--items", "unconditional")
        answer = self.bianhe(*asked, "--items", ",".join(MAILBOX_ITEMS))
        number = re.findall(r"A-\d{4}-\d{4}", answer)[0]
        self.bianhe("application", "decide", number, "--agree", "--mask", MASK, "--where", ROW_RULE)

    def sync(self) -> None:
        """Make the cluster follow; the departments of the sample that have no password yet count as differences."""
        self.bianhe("sync", "apply", good=(0, 3))

    def topics(self, department: str) -> list[str]:
        """The delivery topics of a department, its mailbox first."""
        return sorted(row["topic"] for row in self._json("grant", "list", "--department", department))

    def contract(self) -> dict[str, Any]:
        """The resource's Avro schema."""
        schema: dict[str, Any] = self._json("contract", "show", RESOURCE)
        return schema

    def unconditional(self) -> tuple[str, ...]:
        items = self._json("catalog", "show", RESOURCE)
        return tuple(item["item"] for item in items if item["sharing"] == "无条件共享")

    def password(self, account: str) -> str:
        """A new password of an account."""
        file = self._home / "passwords" / account
        self.bianhe("account", "rotate", account, "--to", str(file))
        return file.read_text(encoding="utf-8")

    def profile(self, account: str, client: str) -> str:
        return self.bianhe("profile", "show", account, "--for", client)

    def _json(self, *words: str) -> Any:
        return json.loads(self.bianhe(*words, "--output", "json"))
