"""Where the queue service is."""

from urllib.parse import urlsplit

from client_sdk import errors
from client_sdk.plain_text import without_login


def service_address(url: str) -> str:
    """Return the URL of a queue service without a slash at its end.

    Raises BadParameter when it is none, so that a slip in a setting is told where it is made
    and not waited for as a service that is away.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise errors.BadParameter(
            "expected the URL of a queue service such as http://127.0.0.1:8080, got "
            f"{without_login(url)!r}"
        )
    return url.rstrip("/")
