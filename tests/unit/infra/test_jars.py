from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bianhe.infra.embedded.jars import (
    Jar,
    JarRefused,
    JarsUnavailable,
    NoKafkaHome,
    default_cache,
    kafka_jars,
    locked_jars,
    verified_jars,
)

CONTENT = b"what the lock was made of"
JAR = Jar("cn.bianhe", "locked", "1.0", hashlib.sha256(CONTENT).hexdigest())


def nothing(done: int, total: int) -> None:
    """No progress shown."""


def test_the_lock_names_each_jar_once_and_kafka_4_4_among_them() -> None:
    jars = locked_jars()
    assert len({jar.file_name for jar in jars}) == len(jars) == 45
    assert "kafka_2.13-4.4.0.jar" in {jar.file_name for jar in jars}
    assert all(len(jar.sha256) == 64 for jar in jars)


def test_a_cached_jar_with_the_right_digest_is_used_without_asking_anybody(tmp_path: Path) -> None:
    (tmp_path / JAR.file_name).write_bytes(CONTENT)
    seen: list[tuple[int, int]] = []
    assert verified_jars(tmp_path, (JAR,), lambda done, total: seen.append((done, total))) == [tmp_path / JAR.file_name]
    assert seen == [(1, 1)]


def test_b32_a_jar_with_a_wrong_digest_is_refused_and_left_for_inspection(tmp_path: Path) -> None:
    tampered = tmp_path / JAR.file_name
    tampered.write_bytes(CONTENT + b"and something else")
    with pytest.raises(JarRefused) as refusal:
        verified_jars(tmp_path, (JAR,), nothing)
    assert JAR.file_name in refusal.value.message
    assert "SHA-256" in refusal.value.cause
    assert str(tampered) in refusal.value.cure
    assert tampered.exists()


def test_a_jar_that_nobody_delivers_is_explained_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(JarsUnavailable, match=JAR.file_name):
        verified_jars(tmp_path, (JAR,), nothing)
    assert list(tmp_path.iterdir()) == []


def test_kafka_home_overrides_the_lock(tmp_path: Path) -> None:
    (tmp_path / "home" / "libs").mkdir(parents=True)
    jar = tmp_path / "home" / "libs" / "kafka_2.13-4.4.0.jar"
    jar.write_bytes(b"")
    assert kafka_jars(tmp_path / "cache", environ={"KAFKA_HOME": str(tmp_path / "home")}) == [jar]


def test_a_kafka_home_without_jars_is_explained(tmp_path: Path) -> None:
    with pytest.raises(NoKafkaHome, match=str(tmp_path)):
        kafka_jars(tmp_path / "cache", environ={"KAFKA_HOME": str(tmp_path)})


def test_the_cache_follows_the_xdg_specification() -> None:
    assert default_cache({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/bianhe/jars")
    assert default_cache({}) == Path.home() / ".cache" / "bianhe" / "jars"
