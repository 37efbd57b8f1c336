"""Parses `PENSTOCK_FILES_URL`: s3://bucket or s3://bucket/prefix."""

import re
from dataclasses import dataclass

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)*")


class BadFilesUrl(ValueError):
    """The URL cannot be used."""


@dataclass(frozen=True, slots=True)
class FilesUrl:
    """A parsed URL.  prefix: without slashes at its ends; "" for the whole bucket."""

    bucket: str
    prefix: str = ""


def read_files_url(url: str) -> FilesUrl:
    """Parse a URL; raises BadFilesUrl.  No error contains the URL: it may have a password."""
    scheme, mark, rest = url.strip().partition("://")
    if not mark or scheme.lower() != "s3":
        came = repr(scheme[:20]) if mark else "no scheme"
        raise BadFilesUrl(f"expected s3://bucket or s3://bucket/prefix, got {came}")
    if "@" in rest:
        raise BadFilesUrl(
            "expected a URL without keys; set files_access_key and files_secret_key instead"
        )
    bucket, slash, prefix = rest.rstrip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise BadFilesUrl(
            "expected the name of a bucket behind s3:// (3 to 63 of a-z, 0-9, '.', '-' and '_'), "
            f"got {bucket[:64]!r}"
        )
    if not _PREFIX.fullmatch(slash + prefix) or {".", ".."} & set(prefix.split("/")):
        raise BadFilesUrl(
            "expected a prefix of names of letters, digits, '.', '-' and '_' with '/' between, "
            f"got {prefix[:64]!r}"
        )
    return FilesUrl(bucket, prefix)
