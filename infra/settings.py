"""All settings, read once: from `BIANHE_…` in the environment, else from `<home>/bianhe.toml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from bianhe.schemas.errors import Rejected


class MissingSecret(Rejected):
    """A password file is not there, or others can read it."""


def data_home() -> Path:
    """Where the embedded bus keeps its data: `BIANHE_HOME`, else `$XDG_DATA_HOME/bianhe`."""
    if home := os.environ.get("BIANHE_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "bianhe"


class KafkaSettings(BaseModel):
    """The cluster. `secrets` holds one file per component account, mode 0600."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bootstrap: str
    secrets: Path
    ca_file: Path | None = None


class Settings(BaseSettings):
    """What a process of the bus must know to start."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="BIANHE_", env_nested_delimiter="__", env_ignore_empty=True
    )
    home: Path = data_home()
    kafka: KafkaSettings
    database: str
    registry: str = "http://127.0.0.1:8080"
    routers: int = 1
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, data_home() / "bianhe.toml")


def read_secret(path: Path) -> SecretStr:
    """The content of a secret file; raises MissingSecret if it is absent or readable by others."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise MissingSecret(f"there is no secret file {path}", cure="issue one: bianhe account rotate") from error
    if mode & 0o077:
        raise MissingSecret(f"others can read the secret file {path}", cure=f"chmod 600 {path}")
    return SecretStr(path.read_text(encoding="utf-8").strip())


def write_secret(path: Path, secret: SecretStr) -> None:
    """Write a secret file that its owner alone can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret.get_secret_value())
    draft.replace(path)
