"""The house rules that no other tool holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("consumers", "infra", "producers", "registry", "schemas")
AT_THE_ROOT = {*ROOMS, "tests", "pyproject.toml", "README.md", "LICENSE", "requirements.lock"}
UNTRACKED = {"build"}


def test_pyproject_lists_every_package() -> None:
    in_tree = {
        "bianhe." + ".".join(init.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert set(settings["packages"]) == in_tree


def test_every_data_file_of_a_room_is_packaged() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    packaged = {
        path
        for package, patterns in data.items()
        if package != "*"
        for pattern in patterns
        for path in (ROOT / package.removeprefix("bianhe.").replace(".", "/")).glob(pattern)
    }
    needed = {
        path
        for room in ROOMS
        for ending in ("toml", "avsc", "csv", "lock", "properties", "mako")
        for path in (ROOT / room).rglob(f"*.{ending}")
    }
    assert needed <= packaged


def test_what_judges_the_bus_shares_names_and_errors_with_it_and_nothing_else() -> None:
    modules = {path.stem for path in (ROOT / "schemas").glob("*.py")} - {"__init__", "errors", "names"}
    modules |= {path.parent.name for path in (ROOT / "schemas").glob("*/__init__.py")}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    judges = [contract for contract in settings["contracts"] if "shares no code" in contract["name"]]
    assert len(judges) == 2
    for contract in judges:
        assert {f"bianhe.schemas.{module}" for module in modules} <= set(contract["forbidden_modules"])


def test_nothing_else_lies_at_the_root() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert {name for name in visible - UNTRACKED if not name.endswith(".egg-info")} == AT_THE_ROOT


def test_every_file_that_a_law_names_exists() -> None:
    laws = (ROOT / "infra" / "docs" / "laws.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.(?:py|toml|md))`", laws))
    assert len(named) > 15
    assert {name for name in named if not (ROOT / name).is_file()} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_it_is_for_and_what_is_absent(room: str) -> None:
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    assert "Deliberately absent" in text


def test_documents_link_to_what_exists() -> None:
    broken = []
    for document in [ROOT / "README.md", *ROOT.glob("infra/docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            if not (document.parent / target).exists():
                broken.append((document.name, target))
    assert broken == []
