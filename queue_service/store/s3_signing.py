"""Signs requests to S3 that obstore has no call for (AWS Signature Version 4)."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with.  session_token: "" for keys that do not expire."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def of_environment(cls) -> "Keys | None":
        """Return the keys of the AWS_* variables; None if there are none."""
        access, secret = (
            os.environ.get("AWS_ACCESS_KEY_ID"),
            os.environ.get("AWS_SECRET_ACCESS_KEY"),
        )
        if not access or not secret:
            return None
        return cls(access, secret, os.environ.get("AWS_SESSION_TOKEN", ""))


def signed(
    method: str,
    url: str,
    query: Mapping[str, str],
    *,
    keys: Keys,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a request without a body, with its signature."""
    place = urlsplit(url)
    at = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": place.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": at}
    if keys.session_token:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(headers))
    request = _canonical(method, place.path, query, headers, _EMPTY)
    signature = _signature(request, keys=keys, region=region, at=at)
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{_scope(region, at)}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers


def presigned(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    keys: Keys,
    region: str,
    now: datetime,
    valid_s: int,
) -> str:
    """Return the address for one request by a client without keys.

    headers: that the request must have, with these values; names in lower case.
    """
    place = urlsplit(url)
    at = now.strftime("%Y%m%dT%H%M%SZ")
    signed_headers = {**headers, "host": place.netloc}
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys.access_key}/{_scope(region, at)}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(valid_s),
        "X-Amz-SignedHeaders": ";".join(sorted(signed_headers)),
    }
    if keys.session_token:
        query["X-Amz-Security-Token"] = keys.session_token
    request = _canonical(method, place.path, query, signed_headers, "UNSIGNED-PAYLOAD")
    signature = _signature(request, keys=keys, region=region, at=at)
    return f"{url}?{query_of(query)}&X-Amz-Signature={signature}"


def _canonical(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], digest: str
) -> str:
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    return f"{method}\n{path}\n{query_of(query)}\n{lines}\n{names}\n{digest}"


def _scope(region: str, at: str) -> str:
    return f"{at[:8]}/{region}/s3/aws4_request"


def _signature(request: str, *, keys: Keys, region: str, at: str) -> str:
    scope = _scope(region, at)
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def query_of(query: Mapping[str, str]) -> str:
    """Return a query as it is signed."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query)
    )
