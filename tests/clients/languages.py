"""The four languages: what each needs on the machine, how its program is built, and how it is run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jgo.maven import MavenContext

from bianhe.infra.embedded.jars import default_cache, kafka_jars

HERE: Final = Path(__file__).parent
COMMAND_SECONDS: Final = 600
RUN_SECONDS: Final = 180

# Confluent's serializers are not on Maven Central, but for this jar of a Pinot module that carries them along.
_SERIALIZERS = ("org.apache.pinot", "pinot-confluent-avro", "1.5.0", "shaded")
_SERIALIZERS_SHA256 = "fcba31945ab17f393008f46975b37dd12516e59f536b0bec5a19ab9fd84464d1"


class Failed(Exception):
    """A command or program ended otherwise than it should; the text is what it said last."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language and its most used clients.

    `client` is what `bianhe profile show --for` calls it, `profile` the file that the printed settings go to,
    `prepare` builds what does not depend on the account, `compile` what does.
    """

    name: str
    needs: tuple[str, ...]
    client: str
    profile: str
    run: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda folder: None
    compile: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The programs that this machine lacks for it."""
        return [program for program in self.needs if shutil.which(program) is None]

    def build(self, cache: Path) -> Path:
        """Copy the program into the cache and build it there; returns the folder."""
        folder = cache / self.name
        shutil.copytree(HERE / self.name, folder, dirs_exist_ok=True)
        self.prepare(folder)
        return folder


def command(folder: Path, *words: str, env: dict[str, str] | None = None, good: tuple[int, ...] = (0,)) -> str:
    """Run a command in a folder and return its standard output; raises Failed at an exit code that is not good."""
    done = subprocess.run(
        words, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if done.returncode not in good:
        raise Failed(f"{words[0]}: {_last_lines(done.stderr or done.stdout)}")
    return done.stdout


def said(language: Language, folder: Path, arguments: Sequence[str], password: str, text: str = "") -> str:
    """Run a language's program with the password in its environment; returns its output, raises Failed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIANHE_")}
    done = subprocess.run(
        (*language.run, *arguments),
        cwd=folder,
        env={**environment, "BIANHE_PASSWORD": password},
        input=text,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    if done.returncode:
        raise Failed(_last_lines(done.stderr))
    return done.stdout


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error ")]
    return (errors or lines or ["it said nothing"])[-1]


def _prepare_java(folder: Path) -> None:
    words = ("javac", "-d", "classes", "-cp", _class_path(folder), "Client.java")
    command(folder, *words)
    (folder / "classpath").write_text(f'-cp "{folder / "classes"}:{_class_path(folder)}"\n', encoding="utf-8")


def _class_path(folder: Path) -> str:
    wanted = ("kafka-clients-", "jackson-annotations-", "jackson-core-", "jackson-databind-")
    kafka = [jar for jar in kafka_jars(default_cache()) if jar.name.startswith(wanted)]
    return ":".join(map(str, (*kafka, _serializers(folder / "lib"))))


def _serializers(folder: Path) -> Path:
    group, artifact, version, classifier = _SERIALIZERS
    source = MavenContext(repo_cache=folder, timeout=60).project(group, artifact).at_version(version)
    jar = source.artifact(classifier=classifier).resolve()
    if hashlib.sha256(jar.read_bytes()).hexdigest() != _SERIALIZERS_SHA256:
        raise Failed(f"{jar.name} has a wrong digest")
    return Path(jar)


def _prepare_node(folder: Path) -> None:
    # Not `npm ci`, which fetches everything anew each time; the lock holds here too.
    command(folder, "npm", "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")


LANGUAGES: Final = (
    Language("python", (), "librdkafka", "client.properties", (sys.executable, "client.py")),
    Language("java", ("java", "javac"), "java", "client.properties", ("java", "@classpath", "Client"), _prepare_java),
    Language(
        "go",
        ("go", "gcc"),
        "go",
        "bianhe.go",
        ("./client",),
        compile=("go", "build", "-buildvcs=false", "-o", "client", "."),
    ),
    Language("node", ("node", "npm"), "node", "bianhe.js", ("node", "client.js"), _prepare_node),
)
