"""The settings for files in S3-compatible storage."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from queue_service.settings.files_url import read_files_url


class S3Settings(BaseSettings):
    """Where files are in S3, and the keys for it."""

    files_url: str = Field(
        "",
        description=(
            "Storage for files instead of `files_dir`: `s3://bucket/prefix`, in a bucket that "
            "exists. No other Penstock may have the same prefix."
        ),
    )
    files_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$",
        description="With `files_url`: the address of the storage; empty means AWS.",
    )
    files_public_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$",
        description=("The address of the storage for workers and clients, if it differs."),
    )
    files_region: str = Field(
        "", description="The region of the bucket; by default that of AWS_REGION."
    )
    files_virtual_hosts: bool = Field(
        False, description="Address the bucket by its host name instead of by its path."
    )
    files_access_key: str = Field(
        "",
        description="The access key of the storage; by default AWS_ACCESS_KEY_ID, or an AWS role.",
    )
    files_secret_key: SecretStr = Field(SecretStr(""), description="Its secret key.")
    files_secret_key_file: str = Field("", description="A file with the secret key, instead.")
    files_addresses: bool = Field(
        True,
        description=(
            "Give workers, and clients that ask for it, addresses in the storage that are valid "
            "for 15 minutes, so that bytes need not pass through the queue service."
        ),
    )
    files_redirect: bool = Field(
        False, description="Give such addresses also to clients that do not ask."
    )

    @field_validator("files_url")
    @classmethod
    def _is_a_files_url(cls, url: str) -> str:
        if url:
            read_files_url(url)
        return url

    @model_validator(mode="after")
    def _s3_settings_are_complete(self) -> Self:
        keys = bool(self.files_secret_key.get_secret_value()) + bool(self.files_secret_key_file)
        if keys > 1:
            raise ValueError("files_secret_key_file: expected no files_secret_key with it, got one")
        if bool(self.files_access_key) != bool(keys):
            raise ValueError(
                "files_access_key: expected it together with files_secret_key or "
                "files_secret_key_file, got only one of them"
            )
        path = self.files_secret_key_file
        if path and not os.access(path, os.R_OK):
            raise ValueError(
                f"files_secret_key_file: expected a file that can be read, got {path!r}"
            )
        if not self.files_url:
            for name in ("files_endpoint", "files_public_endpoint", "files_access_key"):
                if getattr(self, name):
                    raise ValueError(f"{name}: expected files_url with it, got none")
        return self

    def files_secret(self) -> str:
        """Return the secret key; raises OSError when its file cannot be read."""
        if not self.files_secret_key_file:
            return self.files_secret_key.get_secret_value()
        return Path(self.files_secret_key_file).read_text(encoding="utf-8").strip()
