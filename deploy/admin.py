"""The admin face of a queue service, as the commands of operators ask it."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Self

import aiohttp
import typer

from client_sdk.certificates import trusted
from client_sdk.unreachable import why
from deploy.data_dir import DEFAULT_PATH, DataDir
from deploy.errors import AdminRefused, Interrupted, NoAnswer
from deploy.secret_option import read_secret

#: Seconds until the queue service must have answered.
ANSWER_TIMEOUT_S = 30.0

Url = Annotated[
    str, typer.Option(help="The queue service; by default the local mode.", envvar="PENSTOCK_URL")
]
AdminToken = Annotated[
    str,
    typer.Option(
        help="The admin token; by default the local mode's. @FILE reads it from a file.",
        envvar="PENSTOCK_ADMIN_TOKEN",
        callback=read_secret,
    ),
]
Data = Annotated[Path, typer.Option("--data", help="The local mode's data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class AdminFace:
    """Asks one queue service as an operator; every call blocks until it is answered."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": admin_token, "Accept": "application/json"}

    @classmethod
    def find(cls, url: str, admin_token: str, data_dir: Path = DEFAULT_PATH) -> Self:
        """The face at `url`, or else that of the local mode; raises NotRunning without either."""
        if url:
            return cls(url, admin_token)
        running = DataDir(data_dir).running()
        return cls(running.url, admin_token or running.admin_token)

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


def _sentence(text: str) -> str:
    try:
        told = json.loads(text)
        # The OpenAI face has its errors one level deeper.
        return str(told.get("error", told)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:500]
