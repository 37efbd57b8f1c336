"""A client of the admin API, for the operators' commands."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp

from client_sdk.certificates import trusted
from client_sdk.token_header import token_header
from client_sdk.unreachable import why
from deploy.errors import AdminRefused, Interrupted, NoAnswer

#: Seconds that the queue service has to respond.
ANSWER_TIMEOUT_S = 30.0


class AdminApi:
    """Calls the admin API of one queue service; every call blocks until the response is there."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {**token_header(admin_token, url), "Accept": "application/json"}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        if_none_match: str = "",
        **query: str,
    ) -> Any:
        """Send a request and return the JSON of the response, or None when it is empty.

        if_none_match: `*` creates something new, and fails when it exists.

        Raises AdminRefused with the service's message, NoAnswer, or, after a Ctrl-C that may have
        come too late to prevent the change, Interrupted.
        """
        asking = self.ask_async(method, path, body, if_none_match=if_none_match, **query)
        try:
            return asyncio.run(asking)
        except KeyboardInterrupt:
            if method == "GET":
                raise
            raise Interrupted(
                f"no response from {self._url}; the change may or may not have been applied: check "
                "before you try again"
            ) from None

    async def ask_async(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        if_none_match: str = "",
        **query: str,
    ) -> Any:
        """Do what `ask` does, inside a running event loop."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        headers = {"If-None-Match": if_none_match} if if_none_match else {}
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=timeout,
                    headers=self._headers,
                    connector=aiohttp.TCPConnector(ssl=trusted()),
                ) as session,
                session.request(
                    method, f"{self._url}{path}", json=body, params=query, headers=headers
                ) as answer,
            ):
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = why(error) or f"nothing within {ANSWER_TIMEOUT_S:g} s"
            raise NoAnswer(self._url, reason) from error
        if answer.status >= 400:
            raise AdminRefused(answer.status, sentence_of(text))
        return json.loads(text) if text else None


def service_path(name: str, verb: str = "") -> str:
    """Return the path of a service at the queue service."""
    return f"/v1/services/{quote(name, safe='')}{verb}"


def sentence_of(text: str) -> str:
    """Return the message of an error response."""
    try:
        told = json.loads(text)
        # The OpenAI API has its errors one level deeper.
        return str(told.get("error", told)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:500]
