"""What the demo keeps on disk: its folder, the input files of the providers, profiles and letters."""

from __future__ import annotations

import csv
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from bianhe.infra.settings import Profile, Settings, write_secret
from bianhe.producers.keys import SECRET_BYTES
from bianhe.producers.synthetic.history import columns, events
from bianhe.schemas.errors import Rejected

MARKER: Final = ".bianhe-demo"
"""Marks a folder as the demo's own; whoever runs a demo there holds its lock."""


class FolderInUse(Rejected):
    """The folder is another demo's, or no demo's at all."""


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Empty the demo's folder and hold it inside the block; raises FolderInUse, and then touches nothing."""
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise FolderInUse(
            f"{folder} holds something that is not the demo's",
            cure="name another folder with --home; the demo empties its folder at the start",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / MARKER).open("w") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"another demo runs in {folder}", cure="wait for it, or name another folder with --home"
            ) from None
        for entry in folder.iterdir():
            if entry.name == MARKER:
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield folder


def write_rows(file: Path, resource: str, count: int, seed: int, later: Path | None, later_count: int) -> None:
    """Write `count` events of the synthetic city as CSV, and the events that follow them into another file."""
    rows = events(resource, count + later_count, seed)
    _write(file, resource, islice(rows, count))
    if later is not None:
        _write(later, resource, rows)


def read_rows(file: Path) -> Iterator[dict[str, str]]:
    """The rows of such a file, one at a time."""
    with file.open(encoding="utf-8", newline="") as source:
        yield from csv.DictReader(source)


def _write(file: Path, resource: str, rows: Iterator[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, columns(resource))
        writer.writeheader()
        writer.writerows(rows)


class Papers:
    """Where each thing of a demo lies in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def log(self) -> Path:
        return self._folder / "logs" / "demo.log"

    def rows(self, resource: str) -> Path:
        return self._folder / "input" / f"{resource}.csv"

    def later_rows(self, resource: str) -> Path:
        return self._folder / "input" / f"{resource}-later.csv"

    def password(self, department: str) -> Path:
        return self._folder / "secrets" / department

    def profile(self, department: str) -> Path:
        return self._folder / "profiles" / f"{department}.toml"

    def letter(self, number: str) -> Path:
        return self._folder / "letters" / f"{number}.txt"

    def write_letter(self, number: str, text: str) -> None:
        file = self.letter(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def write_profile(self, department: str, settings: Settings) -> None:
        """Write what a department's client starts with; the password stays in its own file."""
        profile = Profile(
            department=department,
            bootstrap=settings.kafka.bootstrap,
            registry=settings.registry,
            password_file=self.password(department),
            key_secrets=self._keys,
        )
        file = self.profile(department)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(profile.to_toml(), encoding="utf-8")

    def make_key_secret(self, resource: str) -> bytes:
        """Make the secret from which a provider derives the entity keys of a resource (mode 0600)."""
        secret = secrets.token_bytes(SECRET_BYTES)
        write_secret(self._keys / f"{resource}.key", SecretStr(secret.hex()))
        return secret

    @property
    def _keys(self) -> Path:
        return self._folder / "keys"


def forget_settings() -> None:
    """Take every setting out of the environment: the demo runs on its own bus with its own accounts alone."""
    for name in [name for name in os.environ if name.startswith("BIANHE_")]:
        del os.environ[name]
