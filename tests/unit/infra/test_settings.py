"""Settings that are absent are told from those that are wrong, and no value is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bianhe.infra.settings import InvalidProfile, MissingSettings, Profile, load


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIANHE_HOME", str(tmp_path))
    for name in ("KAFKA__BOOTSTRAP", "KAFKA__SECRETS", "DATABASE", "ROUTERS", "LOG_FORMAT"):
        monkeypatch.delenv(f"BIANHE_{name}", raising=False)


def test_absent_settings_are_named() -> None:
    with pytest.raises(MissingSettings, match="missing: kafka, database"):
        load()


def test_a_wrong_setting_is_told_with_its_reason_and_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIANHE_ROUTERS", "0")
    monkeypatch.setenv("BIANHE_LOG_FORMAT", "not to be seen")
    with pytest.raises(MissingSettings, match=r"wrong: routers: .*greater than or equal to 1; log_format: ") as raised:
        load()
    assert "not to be seen" not in f"{raised.value} {raised.value.cause} {raised.value.cure}"


def test_a_profile_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidProfile, match="there is no file"):
        Profile.read(tmp_path / "nofile.toml")
