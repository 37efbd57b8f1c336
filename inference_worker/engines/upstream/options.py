"""The options of the engine `http`."""

import string
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from client_sdk.setting_names import in_any_case
from client_sdk.wire import names

_HEADER_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_")

Path = Annotated[str, StringConstraints(pattern=r"^(/[^?#\s]*)?$")]
#: A path without escapes, or the beginning of one followed by `/*`.
SubPath = Annotated[str, StringConstraints(pattern=r"^/(\*|[^?#\s\\%*]+(/\*)?)$")]
Status = Annotated[int, Field(ge=300, le=599)]


class Mode(StrEnum):
    """The format of the server's response."""

    AUTO = "auto"
    RAW = "raw"
    JSON = "json"
    SSE = "sse"
    OPENAI_SSE = "openai-sse"
    OLLAMA = "ollama"
    LLAMA_CPP = "llama-cpp"
    TGI = "tgi"
    COMFYUI = "comfyui"


class UpstreamOptions(BaseModel):
    """The address of the server, how to start it, and how to read its responses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#\s]+[^?#\s]*)?$",
        description="The server's URL; the same as in the engine's name after `http:`.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The server's port on this machine, instead of a URL. 0 with a `script`: "
        "a free port, passed to it as the variable `PORT`.",
    )
    script: str | tuple[str, ...] = Field(
        default="",
        description="Start the server with this command: a text runs in the shell, a list without "
        "one. The server is restarted when it ends, and ends with the worker.",
    )
    path: Path = Field(default="", description="Prefix of every job's sub-path.")
    paths: tuple[SubPath, ...] | None = Field(
        default=None,
        description="The sub-paths that jobs may use, after `path`: `/v1/score`, or `/v1/*` for "
        "all below it; `[]` for none. By default all, but with `send_headers` (or a password in "
        "the `url`) only those of the OpenAI API.",
    )
    mode: Mode = Field(
        default=Mode.AUTO,
        description="The format of the response: `raw`, `json`, `sse`, `openai-sse`, `ollama`, "
        "`llama-cpp` or `tgi`. With `auto`, the first event of a stream shows its format. "
        "`comfyui` runs workflows.",
    )
    health_path: Path = Field(
        default="",
        description="The server is ready when this path returns 2xx; by default when its port "
        "accepts a connection.",
    )
    start_timeout_s: float = Field(
        default=600.0, gt=0, le=86_400, description="Seconds until the server must be ready."
    )
    timeout_s: float = Field(
        default=3600.0,
        gt=0,
        le=2_592_000,
        description="The most seconds for one job.",
    )
    headers: tuple[str, ...] = Field(
        default=(), description="Response headers that become tags of the result."
    )
    send_headers: dict[str, str] = Field(
        default_factory=dict, description="Headers sent with every job, such as `Authorization`."
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="The most jobs that the server gets at once; by default the worker's window.",
    )
    max_answer_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        le=2**31,
        description="The largest response, in bytes.",
    )
    final_statuses: tuple[Status, ...] = Field(
        default=(),
        description="Statuses that are final also for entries of the EAS protocol. PAI EAS "
        "retries every status outside of 2xx.",
    )

    @property
    def has_credentials(self) -> bool:
        """Whether every request carries the operator's credentials."""
        return bool(self.send_headers) or "@" in urlsplit(self.url).netloc

    @field_validator("mode", mode="before")
    @classmethod
    def _mode_in_any_case(cls, came: object) -> object:
        return in_any_case(came, Mode)

    @field_validator("headers", "send_headers")
    @classmethod
    def _names_of_headers(cls, headers: tuple[str, ...] | dict[str, str]) -> object:
        for name in headers:
            if not name or not _HEADER_CHARACTERS.issuperset(name) or names.is_reserved(name):
                raise ValueError(f"expected the name of a header, got {name!r}")
            if name == names.REQUEST_ID_TAG:
                raise ValueError(f"the tag {name} is reserved for the request id")
        if isinstance(headers, dict) and any("\r" in v or "\n" in v for v in headers.values()):
            raise ValueError("the value of a header must be one line")
        return headers

    @model_validator(mode="after")
    def _says_where_the_server_is(self) -> Self:
        if bool(self.url) == (self.port is not None):
            raise ValueError("expected either a url or a port of the server")
        if self.port == 0 and not self.script:
            raise ValueError("port 0, a free port, needs a server with a script")
        # `.port` raises a ValueError for an invalid port.
        if self.url and urlsplit(self.url).port == 0:
            raise ValueError("a url cannot have port 0")
        return self
