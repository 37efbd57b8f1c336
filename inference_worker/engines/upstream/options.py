"""What the engine `http` can be told."""

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
#: A path without escapes, or the beginning of one with `/*` behind it.
SubPath = Annotated[str, StringConstraints(pattern=r"^/(\*|[^?#\s\\%*]+(/\*)?)$")]
Status = Annotated[int, Field(ge=300, le=599)]


class Mode(StrEnum):
    """What the server's answer is, and so what the result is."""

    RAW = "raw"
    JSON = "json"
    SSE = "sse"
    OPENAI_SSE = "openai-sse"


class UpstreamOptions(BaseModel):
    """Where the server is, how it is started, and how its answers are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#\s]+[^?#\s]*)?$",
        description="The server; the part of the engine's name behind `http:` says the same.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The server's port on this machine, in place of a URL. 0 with a `script`: "
        "any free one, told to it as the variable `PORT`.",
    )
    script: str | tuple[str, ...] = Field(
        default="",
        description="Start the server with this command, given to the shell, or as a list "
        "started without one; it is restarted when it ends, and ends with the worker.",
    )
    path: Path = Field(default="", description="Put before the sub-path of every job.")
    paths: tuple[SubPath, ...] | None = Field(
        default=None,
        description="The sub-paths that jobs may name, behind `path`: `/v1/score`, or `/v1/*` for "
        "all below it; `[]` for none. By default all, but with `send_headers` (or a password in "
        "the `url`) only those of the OpenAI API.",
    )
    mode: Mode = Field(
        default=Mode.RAW,
        description="What the server answers: `raw`, `json`, `sse` or `openai-sse`.",
    )
    health_path: Path = Field(
        default="",
        description="The server is ready when this path answers 2xx; by default when its port "
        "takes a connection.",
    )
    start_timeout_s: float = Field(
        default=600.0, gt=0, le=86_400, description="Seconds until the server has to be ready."
    )
    timeout_s: float = Field(
        default=3600.0,
        gt=0,
        le=2_592_000,
        description="Seconds that the server may take for one job.",
    )
    headers: tuple[str, ...] = Field(
        default=(), description="Headers of the server's answer that become tags of the result."
    )
    send_headers: dict[str, str] = Field(
        default_factory=dict, description="Headers sent with every job, such as `Authorization`."
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Jobs that the server is given at once; by default the worker's window.",
    )
    max_answer_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        le=2**31,
        description="The most that is read of one answer, in bytes.",
    )
    final_statuses: tuple[Status, ...] = Field(
        default=(),
        description="Statuses that are answered at once; any other one outside of 2xx is tried "
        "again, as PAI EAS does.",
    )

    @property
    def has_credentials(self) -> bool:
        """Whether the server is sent something of the operator's own with every job."""
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
                raise ValueError(f"{name!r} is no name of a header")
            if name == names.REQUEST_ID_TAG:
                raise ValueError(f"the tag {name} is the request id's own")
        if isinstance(headers, dict) and any("\r" in v or "\n" in v for v in headers.values()):
            raise ValueError("the value of a header is one line")
        return headers

    @model_validator(mode="after")
    def _says_where_the_server_is(self) -> Self:
        if bool(self.url) == (self.port is not None):
            raise ValueError("say either where the server is, as a url, or its port")
        if self.port == 0 and not self.script:
            raise ValueError("port 0, any free one, is for a server with a script")
        # Raises a ValueError of its own for a port that is none.
        if self.url and urlsplit(self.url).port == 0:
            raise ValueError("a url has no port 0")
        return self
