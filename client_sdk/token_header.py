"""The header that carries a token."""

from urllib.parse import urlsplit

from client_sdk.errors import BadParameter
from client_sdk.plain_text import without_login


def token_header(token: str, urls: str) -> dict[str, str]:
    """Return the header for requests to these URLs, which commas separate; none for no token.

    Raises BadParameter for what the HTTP client would refuse at the first request, with an error
    that names neither the token nor the URL.
    """
    if not token:
        return {}
    if not token.isprintable():
        # Such as a file with two lines.  The token itself must not be in an error.
        raise BadParameter(
            "expected a token of one line, got one with a line break or another character that "
            "cannot be printed"
        )
    for url in urls.split(","):
        if urlsplit(url.strip()).username is not None:
            raise BadParameter(
                "expected a URL without a user and a password, because there is a token, "
                f"got one with them: {without_login(url.strip())}"
            )
    return {"Authorization": token}
