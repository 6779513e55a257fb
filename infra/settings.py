"""All settings, read once: from `BIANHE_…` in the environment, else from `<home>/bianhe.toml`."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from bianhe.schemas.errors import Rejected


class MissingSecret(Rejected):
    """A password file is not there, or others can read it."""


def data_home() -> Path:
    """Where the embedded bus keeps its data: `BIANHE_HOME`, else `$XDG_DATA_HOME/bianhe`."""
    if home := os.environ.get("BIANHE_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "bianhe"


_PROFILE_CURE: Final = "an administrator writes one: bianhe profile write <department> --to <file>"


class InvalidProfile(Rejected):
    """A profile that is not there, is no TOML, or says what a profile does not say."""


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
    routers: int = Field(default=1, ge=1)
    """How many workers all machines run together; each is a writer on the policy log from the next catalog import."""
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


class MissingSettings(Rejected):
    """This process does not know which bus it belongs to."""


def load() -> Settings:
    """The settings of this process; raises MissingSettings naming those that are absent or wrong."""
    try:
        return Settings.model_validate({})
    except ValidationError as error:
        raise _unsettled(error) from error


def _unsettled(error: ValidationError) -> MissingSettings:
    """Which settings are wrong and why, else which are absent; never a value, which may be a secret."""
    file = data_home() / "bianhe.toml"
    faults = [(".".join(map(str, fault["loc"])), fault["type"], fault["msg"]) for fault in error.errors()]
    if wrong := [f"{name}: {message}" if name else message for name, kind, message in faults if kind != "missing"]:
        return MissingSettings(
            f"settings are wrong: {'; '.join(wrong)}",
            cause=f"BIANHE_… in the environment says so, or {file}",
            cure="correct them: infra/README.md lists what each may be",
        )
    return MissingSettings(
        f"settings are missing: {', '.join(name for name, _, _ in faults)}",
        cause=f"no BIANHE_… in the environment says them, nor does {file}",
        cure="start a bus on this machine with bianhe up, which writes them, or point BIANHE_HOME at one",
    )


def read_secret(path: Path, cure: str = "restore it from a backup") -> SecretStr:
    """The content of a secret file; raises MissingSecret, with this cure where there is none."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise MissingSecret(f"there is no secret file {path}", cure=cure) from error
    if mode & 0o077:
        raise MissingSecret(f"others can read the secret file {path}", cure=f"chmod 600 {path}")
    return SecretStr(path.read_text(encoding="utf-8").strip())


def write_secret(path: Path, secret: SecretStr) -> None:
    """Write a secret file that its owner alone can read, whole or not at all."""
    write_private(path, secret.get_secret_value())


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all; makes its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


class Profile(BaseModel):
    """What a department's client starts with (接入配置); carries no secret.

    `key_secrets` is the directory of a provider's key secrets, `<resource>.key` each. Relative paths start where the
    profile lies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    department: str
    bootstrap: str
    registry: str
    client: str = "main"
    password_file: Path | None = None
    ca_file: Path | None = None
    key_secrets: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a profile; raises InvalidProfile."""
        try:
            profile = cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise InvalidProfile(f"there is no file {path}", cure=_PROFILE_CURE) from error
        except (OSError, ValueError) as error:
            raise InvalidProfile(
                f"{path} is no profile",
                cause=_findings(error),
                cure=_PROFILE_CURE,
            ) from error
        places = {
            name: path.parent / place
            for name in ("password_file", "ca_file", "key_secrets")
            if (place := getattr(profile, name)) is not None
        }
        return profile.model_copy(update=places)

    def to_toml(self) -> str:
        """The profile as a file to write."""
        facts = self.model_dump(mode="json", exclude_none=True)
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in facts.items())

    def password(self) -> SecretStr:
        """The account's password: `BIANHE_PASSWORD`, else the password file. Raises MissingSecret."""
        if password := os.environ.get("BIANHE_PASSWORD"):
            return SecretStr(password)
        if self.password_file is None:
            raise MissingSecret("no password is given", cure="set BIANHE_PASSWORD, or password_file in the profile")
        cure = f"an administrator issues one: bianhe account rotate {self.department}"
        return read_secret(self.password_file, cure)


def _findings(error: Exception) -> str:
    """What is wrong, without the values: one of them may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, fact['loc']))}: {fact['msg']}" for fact in error.errors())
