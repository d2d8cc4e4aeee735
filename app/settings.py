"""Settings, read once from the environment and passed in."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment may set: `MIXWRIGHT_DATA_DIR`, `MIXWRIGHT_DATABASE_URL` and so on.

    Without `database_url` and `broker_url` everything lives in `data_dir`: SQLite, and a broker
    that is a folder.
    """

    model_config = SettingsConfigDict(env_prefix="MIXWRIGHT_", extra="ignore")

    data_dir: Path = Field(default_factory=lambda: Path.home() / ".local/share/mixwright")
    database_url: str = ""
    broker_url: str = ""
    admin_token: SecretStr | None = None
    """A token `mw_<id>_<secret>` that exists from the start: how a new deployment is entered."""
    worker_token: SecretStr | None = None
    """What `mixwright serve` gives to the training workers that it starts itself."""
    max_body_bytes: int = 16 * 2**20
    pool_size: int = 10
    lease_seconds: float = 30.0
    """How long a worker may be silent before its job is given to another."""
    sweep_seconds: float = 10.0
    """How often forgotten jobs are looked for, and how old a bell has to be to be rung again."""
    log_json: bool = False

    @field_validator("database_url")
    @classmethod
    def _use_psycopg(cls, url: str) -> str:
        """Accept the URLs that hosting services hand out."""
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    @property
    def is_embedded(self) -> bool:
        """True if the server brings its own worker and keeps everything in `data_dir`."""
        return not self.broker_url

    @property
    def effective_database_url(self) -> str:
        """The database to use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'mixwright.db'}"
