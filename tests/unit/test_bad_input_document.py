"""infra/docs/bad-input.md names a test for each of B1 to B32, and each of them is there and carries its number."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "infra" / "docs" / "bad-input.md").read_text(encoding="utf-8")
NAMED = {
    int(number): re.findall(r"`(tests/\S+\.py::test_\w+)`", rest)
    for number, rest in re.findall(r"^\| B(\d+) \|(.+)$", DOCUMENT, re.MULTILINE)
}


def test_every_case_stands_once_in_its_order_and_names_a_test() -> None:
    assert re.findall(r"^\| B(\d+) \|", DOCUMENT, re.MULTILINE) == [str(number) for number in range(1, 33)]
    assert all(NAMED.values())


def test_every_test_that_is_named_exists_and_carries_the_number_of_its_case() -> None:
    files = {name.partition("::")[0] for names in NAMED.values() for name in names}
    collecting = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(files)]
    collected = subprocess.run(collecting, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert collected.returncode == 0, collected.stdout
    existing = collected.stdout.splitlines()
    missing = [
        (number, name)
        for number, names in NAMED.items()
        for name in names
        if not any(re.fullmatch(rf"{name}(\[.*)?", test) and f"b{number:02}" in test for test in existing)
    ]
    assert missing == []
