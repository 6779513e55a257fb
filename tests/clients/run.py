"""Do the clients that departments have really work? Each language reads and publishes with nothing but its profile.

Prints a line per language and role. Exit codes: 0 everything ran and passed, 1 something failed, 3 something did not
run because its toolchain is missing here.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from clients import scenario
from clients.exchange import ROOT, Exchange
from clients.languages import LANGUAGES, Failed, Language, command, said

from bianhe.infra.cli.bus import Bus
from bianhe.infra.embedded.data_directory import free_ports

CACHE: Final = ROOT / ".cache" / "clients"
SUBSCRIBERS: Final = {"python": "renshe", "java": "tongji", "go": "yibao", "node": "minzheng"}
NOT_AUTHORIZED: Final = re.compile("topic authorization failed|not authorized to access topics", re.IGNORECASE)
CONFLICT: Final = re.compile("40901")
Role = Callable[[], object]


@dataclass
class Trial:
    """One language at a time on one bus; `log` is what the source topic holds so far."""

    exchange: Exchange
    passwords: dict[str, str]
    schema: Path
    unknown_schema: Path
    log: list[scenario.Published] = field(default_factory=list)
    failed: int = 0
    not_run: int = 0

    def check(self, language: Language, role: str, act: Role) -> None:
        """Carry out one role and print how it went."""
        try:
            act()
        except (Failed, OSError, ValueError) as error:
            self.failed += 1
            print(f"✗ {language.name:<7} {role:<22} {str(error)[:600]}", flush=True)
        else:
            print(f"✓ {language.name:<7} {role}", flush=True)

    def take_profile(self, language: Language, account: str) -> None:
        """Let the language's program start as this account; all it learns is what `bianhe profile show` prints."""
        folder = CACHE / language.name
        (folder / language.profile).write_text(self.exchange.profile(account, language.client), encoding="utf-8")
        if language.compile:
            command(folder, *language.compile)

    def publish(self, language: Language) -> None:
        """As the provider: every event is acknowledged, and each key goes where every other language put it."""
        events = scenario.events(len(self.log))
        receipts: dict[str, list[tuple[int, int]]] = {}
        for line in self._provider(language, self.schema, events):
            receipts.setdefault(line["key"], []).append((line["partition"], line["offset"]))
        for event in events:
            partition, offset = receipts[event["key"]].pop(0)
            self.log.append(scenario.Published(event["key"], event["value"], partition, offset))
        if any(receipts.values()):
            raise Failed("more receipts than events")
        places = {(event.key, event.partition) for event in self.log}
        if len(places) != len({key for key, _ in places}):
            raise Failed("a key went to a partition where another language does not put it")

    def publish_unknown(self, language: Language) -> None:
        refused(CONFLICT, partial(self._provider, language, self.unknown_schema, scenario.events(0)))

    def read(self, language: Language) -> None:
        """As a subscriber, in two runs: the second goes on where the first committed."""
        mailbox, channel = self.exchange.topics(SUBSCRIBERS[language.name])
        expected = scenario.deliveries(self.log, self.exchange.unconditional(), mailbox, channel)
        count = sum(map(len, expected.values()))
        lines = self._subscriber(language, count // 2, mailbox, channel)
        lines += self._subscriber(language, count - count // 2, mailbox, channel)
        if faults := list(scenario.differences(expected, scenario.received(lines))):
            raise Failed("; ".join(faults))

    def read_ungranted(self, language: Language) -> None:
        other = next(account for name, account in SUBSCRIBERS.items() if name != language.name)
        for topic in (scenario.SOURCE, self.exchange.topics(other)[0]):
            refused(NOT_AUTHORIZED, partial(self._subscriber, language, 1, topic))

    def _provider(self, language: Language, schema: Path, events: list[scenario.Line]) -> list[scenario.Line]:
        text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        return self._lines(language, scenario.PROVIDER, ("publish", scenario.SOURCE, str(schema)), text)

    def _subscriber(self, language: Language, count: int, *topics: str) -> list[scenario.Line]:
        return self._lines(language, SUBSCRIBERS[language.name], ("read", str(count), *topics), "")

    def _lines(self, language: Language, account: str, arguments: tuple[str, ...], text: str) -> list[scenario.Line]:
        printed = said(language, CACHE / language.name, arguments, self.passwords[account], text)
        return [json.loads(line) for line in printed.splitlines()]


def refused(reason: re.Pattern[str], act: Role) -> None:
    """Raise Failed unless the act fails for this reason."""
    try:
        act()
    except Failed as error:
        if not reason.search(str(error)):
            raise
    else:
        raise Failed("was not refused")


def try_all(trial: Trial) -> None:
    """Every language publishes before any reads: so each reads what all the others wrote."""
    ready = [language for language in LANGUAGES if _built(trial, language)]
    for language in ready:
        trial.take_profile(language, scenario.PROVIDER)
        trial.check(language, "publishes", partial(trial.publish, language))
        trial.check(language, "unknown schema: 409", partial(trial.publish_unknown, language))
    for language in ready:
        trial.take_profile(language, SUBSCRIBERS[language.name])
        trial.check(language, "reads", partial(trial.read, language))
        trial.check(language, "ungranted: refused", partial(trial.read_ungranted, language))


def _built(trial: Trial, language: Language) -> bool:
    if missing := language.missing():
        trial.not_run += 1
        print(f"– {language.name:<7} not run: {', '.join(missing)} not found on this machine", flush=True)
        return False
    before = trial.failed
    trial.check(language, "builds", partial(language.build, CACHE))
    return trial.failed == before


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bianhe-clients-") as folder:
        home = Path(folder)
        exchange = Exchange(home)
        with Bus(home, registry=f"http://127.0.0.1:{next(free_ports(random.Random()))}"):
            exchange.import_catalog()
            for department in SUBSCRIBERS.values():
                exchange.grant(department)
            exchange.sync()
            trial = _trial(exchange, home)
            try_all(trial)
    print(f"{trial.failed} failed, {trial.not_run} of {len(LANGUAGES)} languages not run")
    return 1 if trial.failed else 3 if trial.not_run else 0


def _trial(exchange: Exchange, home: Path) -> Trial:
    accounts = (scenario.PROVIDER, *SUBSCRIBERS.values())
    contract = exchange.contract()
    known, unknown = home / "known.avsc", home / "unknown.avsc"
    known.write_text(json.dumps(contract, ensure_ascii=False), encoding="utf-8")
    contract["fields"].append({"name": "unheard_of", "type": ["null", "string"], "default": None})
    unknown.write_text(json.dumps(contract, ensure_ascii=False), encoding="utf-8")
    return Trial(exchange, {account: exchange.password(account) for account in accounts}, known, unknown)


if __name__ == "__main__":
    sys.exit(main())
