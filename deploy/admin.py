"""The admin face of a queue service, as the commands of operators ask it."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp

from client_sdk.certificates import trusted
from client_sdk.unreachable import why
from deploy.errors import AdminRefused, Interrupted, NoAnswer

#: Seconds until the queue service must have answered.
ANSWER_TIMEOUT_S = 30.0


class AdminFace:
    """Asks one queue service as an operator; every call blocks until it is answered."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": admin_token, "Accept": "application/json"}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        if_none_match: str = "",
        **query: str,
    ) -> Any:
        """Ask and return the JSON of the answer, None when it is empty.

        if_none_match: `*` makes something new, and is refused when it is there.

        Raises AdminRefused with what the service said, NoAnswer, or Interrupted by Ctrl-C where
        something may have been changed.
        """
        asking = self.ask_async(method, path, body, if_none_match=if_none_match, **query)
        try:
            return asyncio.run(asking)
        except KeyboardInterrupt:
            if method == "GET":
                raise
            raise Interrupted(
                f"no answer of {self._url} had come, so it may be done or not; look before you "
                "try again"
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
            raise AdminRefused(answer.status, _sentence(text))
        return json.loads(text) if text else None


def service_path(name: str, verb: str = "") -> str:
    """Return the path of a service at the queue service."""
    return f"/v1/services/{quote(name, safe='')}{verb}"


def _sentence(text: str) -> str:
    try:
        told = json.loads(text)
        # The OpenAI face has its errors one level deeper.
        return str(told.get("error", told)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:500]
