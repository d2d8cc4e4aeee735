"""Settings of a training worker, read once from the environment."""

import os
import socket
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerSettings(BaseSettings):
    """What a training worker is told: `MIXWRIGHT_URL`, `MIXWRIGHT_TOKEN`, `MIXWRIGHT_BROKER_URL`.

    It has no database: everything goes through the server at `url`. Without `broker_url` it takes
    messages from the folder in `data_dir`, beside an embedded server.
    """

    model_config = SettingsConfigDict(env_prefix="MIXWRIGHT_", extra="ignore")

    url: str = "http://127.0.0.1:8000"
    token: SecretStr = SecretStr("")
    broker_url: str = ""
    data_dir: Path = Field(default_factory=lambda: Path.home() / ".local/share/mixwright")
    checkpoints: str = ""
    """Where groups are checkpointed: a folder or an fsspec URI that every worker reaches."""
    models: str = ""
    """Where proxies are kept that a swarm asks to keep: a folder or an fsspec URI."""
    checkpoint_seconds: float = 60.0
    """How often; a killed group loses at most this much work."""
    lease_seconds: float = 30.0
    """How long this worker may be silent before its group is given to another."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: the GPU if there is one."""
    log_json: bool = False

    @property
    def effective_checkpoints(self) -> str:
        """Where checkpoints are kept."""
        return self.checkpoints or str(self.data_dir / "checkpoints")

    @property
    def effective_models(self) -> str:
        """Where proxies are kept."""
        return self.models or str(self.data_dir / "models")

    @property
    def name(self) -> str:
        """How this worker is called in a swarm's state."""
        return f"{socket.gethostname()}-{os.getpid()}"
