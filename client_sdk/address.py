"""Where the queue service is."""

from urllib.parse import urlsplit

from client_sdk import errors


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
            f"expected the URL of a queue service such as http://127.0.0.1:8080, got {url!r}"
        )
    return url.rstrip("/")
