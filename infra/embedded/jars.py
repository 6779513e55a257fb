"""The jars of the embedded broker, by lock: fetched once, verified each time, then offline."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jgo.maven import MavenContext
from requests import RequestException

from bianhe.schemas.errors import Rejected, Transient

Progress = Callable[[int, int], None]
"""Told after each jar how many are verified, and of how many."""

FETCHES_AT_ONCE = 8
FETCH_SECONDS = 60


class JarRefused(Rejected):
    """A jar is not the one that the lock names."""


class JarsUnavailable(Transient):
    """A jar is not in the cache and could not be fetched."""


class NoKafkaHome(Rejected):
    """KAFKA_HOME names no Kafka distribution."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: Maven coordinates and the SHA-256 of the file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_lock(text: str) -> tuple[Jar, ...]:
    """Read lines of `group:artifact:version sha256`."""
    jars = []
    for line in text.splitlines():
        coordinates, digest = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, digest))
    return tuple(jars)


def locked_jars() -> tuple[Jar, ...]:
    """The jars of Kafka 4.4.0 with all that it needs to run."""
    return read_lock(resources.files(__package__).joinpath("kafka.lock").read_text("ascii"))


def default_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's jars are kept (XDG Base Directory Specification)."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bianhe" / "jars"


def kafka_jars(
    cache: Path, progress: Progress = lambda done, total: None, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """Return the broker's jars, each with the digest of the lock; what the cache lacks is fetched.

    KAFKA_HOME, where set, names an unpacked Kafka distribution whose jars are used as they are.
    Raises JarRefused, JarsUnavailable, NoKafkaHome.
    """
    if home := environ.get("KAFKA_HOME"):
        return _distribution(Path(home))
    return verified_jars(cache, locked_jars(), progress)


def verified_jars(cache: Path, jars: tuple[Jar, ...], progress: Progress) -> list[Path]:
    """Return the given jars out of the cache, verified; those that are not there are fetched first."""
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as staging,
        ThreadPoolExecutor(FETCHES_AT_ONCE) as pool,
    ):
        source = MavenContext(repo_cache=Path(staging), timeout=FETCH_SECONDS)
        tasks = [pool.submit(_verified, jar, cache, source) for jar in jars]
        try:
            for done, task in enumerate(as_completed(tasks), start=1):
                task.result()
                progress(done, len(jars))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [cache / jar.file_name for jar in jars]


def _verified(jar: Jar, cache: Path, source: MavenContext) -> None:
    kept = cache / jar.file_name
    if kept.exists():
        _verify(jar, kept, cure=f"delete {kept}: it is fetched again at the next start")
        return
    fetched = _fetch(jar, source)
    _verify(jar, fetched, cure="ask who runs the package proxy of this network, or set KAFKA_HOME to a Kafka 4.4.0")
    fetched.replace(kept)


def _fetch(jar: Jar, source: MavenContext) -> Path:
    component = source.project(jar.group, jar.artifact).at_version(jar.version)
    try:
        return component.artifact().resolve()
    except (RequestException, RuntimeError, OSError) as error:
        raise JarsUnavailable(
            f"{jar.file_name} could not be fetched",
            cause=f"{type(error).__name__}: the Maven repository did not answer as expected",
            cure="connect this machine to a Maven repository for one start, or set KAFKA_HOME to a Kafka 4.4.0",
        ) from error


def _verify(jar: Jar, file: Path, cure: str) -> None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != jar.sha256:
        raise JarRefused(
            f"{jar.file_name} has a wrong digest and is not used",
            cause=f"its SHA-256 begins {digest[:16]}, the lock says {jar.sha256[:16]}: damaged or replaced",
            cure=cure,
        )


def _distribution(home: Path) -> list[Path]:
    jars = sorted((home / "libs").glob("*.jar"))
    if not jars:
        raise NoKafkaHome(
            f"KAFKA_HOME is {home}, and there are no jars in its folder libs",
            cause="the variable does not name an unpacked Kafka distribution",
            cure="correct KAFKA_HOME, or unset it to use the locked jars",
        )
    return jars
