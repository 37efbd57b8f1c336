"""Every setting of a worker: its unit, its default and what it does.

Read from the environment with the prefix `PENSTOCK_WORKER_`; options of the engine are JSON:

    PENSTOCK_WORKER_ENGINE=echo PENSTOCK_WORKER_ENGINE_OPTIONS='{"delay_s": [0.5, 2]}'
"""

import os
import re
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from client_sdk.certificates import CA_FILE_VARIABLE
from client_sdk.setting_names import in_any_case
from client_sdk.wire.browsers import read_hosts
from inference_worker.engines.load import EngineSpec
from inference_worker.errors import BadTokenFile
from inference_worker.gpu.claim import Wanted
from inference_worker.gpu.locks import DEFAULT_FOLDER
from inference_worker.process import DEFAULT_SILENCE_S

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_PREFIX = "PENSTOCK_WORKER_"


class Settings(BaseSettings):
    """The settings of `python -m inference_worker`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    # --- The queue service
    queue_url: str = Field(
        default="http://127.0.0.1:8080",
        pattern=r"^https?://",
        description="The queue service; several replicas with commas.",
    )
    service: str = Field(default="default", min_length=1, description="The service to work for.")
    token: SecretStr = Field(
        default=SecretStr(""),
        description="The service's `worker_token`, which can only work, or its token.",
    )
    token_file: str = Field(
        default="", description="A file with the token, read at the start if `token` is empty."
    )
    ca_file: str = Field(
        default_factory=lambda: os.environ.get(CA_FILE_VARIABLE, ""),
        description="The certificates that the queue service's is checked against (PEM); by "
        "default those of PENSTOCK_CA_FILE, or the system's.",
    )

    # --- The engine
    engine: str = Field(
        default="echo",
        description="`echo`, `handler:module:Class`, `http:URL`, `http`, `pmml:PATH`, or as "
        "docs/your-model.md says.",
    )
    engine_options: dict[str, object] = Field(
        default_factory=dict, description="Options of the engine, as JSON."
    )
    engine_process: bool | None = Field(
        default=None,
        description=(
            "Run the engine in a separate process; by default every engine except "
            "`echo` and `http`."
        ),
    )
    worker_threads: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Jobs at once (the window); by default what the engine sets.",
    )

    device: str = Field(
        default="",
        description=(
            "The device, such as `cuda:1`; by default `cuda` if available, otherwise `cpu`."
        ),
    )
    gpus: str = Field(
        default="",
        pattern=r"^(all|[1-9][0-9]{0,2})?$",
        description=(
            "How many free GPUs the worker takes before it loads anything, and keeps until its "
            "process ends; `all`; by default it takes none and sees all of them."
        ),
    )
    gpu_shares: int = Field(
        default=1,
        ge=1,
        le=64,
        description="How many workers may have one GPU; all that use it need the same number.",
    )
    gpu_dir: str = Field(
        default=DEFAULT_FOLDER,
        min_length=1,
        description=(
            "The folder of the files that say which GPUs are taken; for containers, a volume that "
            "all of them share."
        ),
    )
    gpu_health: bool | None = Field(
        default=None,
        description=(
            "Watch the GPUs, and accept no jobs while they do not work; by default if the worker "
            "takes GPUs, or if CUDA_VISIBLE_DEVICES names some."
        ),
    )
    run_timeout_s: float = Field(
        default=0.0,
        ge=0,
        description="Longest time of one attempt, in seconds; 0 means no limit.",
    )
    engine_silence_s: float = Field(
        default=DEFAULT_SILENCE_S,
        ge=0,
        description=(
            "An engine process that is silent for this many seconds is replaced; 0 means never."
        ),
    )
    sick_after: int = Field(
        default=3,
        ge=0,
        description=(
            "After this many failed jobs in a row the worker restarts its engine; 0 means never."
        ),
    )

    # --- Files of jobs
    files_dir: str = Field(
        default="",
        description=(
            "The folder for the files of running jobs; by default `penstock-worker-<user id>` in "
            "the system's folder for temporary files. Several workers may share it."
        ),
    )
    files_reserve_mb: int = Field(
        default=256,
        ge=0,
        description="How much of that disk stays free, in MB; a job whose files do not fit waits.",
    )

    # --- Shutdown
    grace_s: float = Field(
        default=30.0,
        ge=0,
        description=("Time from SIGTERM until the worker returns what it still holds, in seconds."),
    )
    exit_when_idle_s: float = Field(
        default=0.0,
        ge=0,
        description=(
            "After this many seconds without a job the worker ends with exit code 0, for "
            "schedulers that start workers and never stop them; 0 means never."
        ),
    )

    # --- Metrics and logs
    metrics_host: str = Field(default="127.0.0.1", description="Address of /metrics and /healthz.")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 is off."
    )
    allowed_hosts: str = Field(
        default="",
        description=(
            "Host names of that port, separated by commas, besides loopback names and "
            "IP addresses. `.example.com` includes its subdomains, `*` allows every "
            "name."
        ),
    )
    name: str = Field(
        default="",
        max_length=64,
        description="The worker's name in log lines, and the beginning of its uid; by default "
        "the machine's.",
    )
    log_level: str = Field(
        default="INFO",
        pattern=f"^({'|'.join(LOG_LEVELS)})$",
        description=(
            "Lowest level that is logged: DEBUG, INFO, WARNING or ERROR, in upper or lower case."
        ),
    )
    log_json: bool = Field(default=False, description="Log lines as JSON.")

    def token_text(self) -> str:
        """Return the token; raises BadTokenFile if its file cannot be read."""
        if self.token.get_secret_value() or not self.token_file:
            return self.token.get_secret_value()
        try:
            text = Path(self.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadTokenFile(self.token_file, str(error)) from None
        if not text:
            raise BadTokenFile(self.token_file, "the file is empty")
        return text

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, text: str) -> str:
        read_hosts(text)
        return text

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, came: object) -> object:
        return in_any_case(came, LOG_LEVELS)

    def wanted_gpus(self) -> Wanted | None:
        """Return the GPUs to take; None if the worker takes none."""
        if not self.gpus:
            return None
        count = None if self.gpus == "all" else int(self.gpus)
        return Wanted(count, self.gpu_shares, self.gpu_dir)

    def engine_spec(self) -> EngineSpec:
        """Return the engine that these settings describe."""
        return EngineSpec(self.engine, self.engine_options, self.worker_threads, self.device)


def explain(error: ValidationError | SettingsError) -> str:
    """Return what is wrong with the settings, one line each, with the names of the variables."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False)
        return "\n".join(f"{_name(problem['loc'])}: {problem['msg']}" for problem in problems)
    # pydantic-settings raises this for invalid JSON, before any validation.
    field = re.search(r'field "(\w+)"', str(error))
    name = _name([field[1]] if field else [])
    return f"{name}: expected JSON: {error.__cause__ or error}"


def _name(place: "tuple[int | str, ...] | list[str]") -> str:
    first, *rest = [str(part) for part in place] or ["settings"]
    return ".".join([f"{_PREFIX}{first.upper()}", *rest])
