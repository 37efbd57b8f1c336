"""The part of the queue service's admin API that the control loop calls, over one connection."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from client_sdk.certificates import trusted
from client_sdk.token_header import token_header
from client_sdk.unreachable import why
from deploy.admin import ANSWER_TIMEOUT_S, sentence_of, service_path
from deploy.autoscaling.driver import Leaver, Started
from deploy.errors import AdminRefused, NoAnswer


@dataclass(frozen=True, slots=True)
class HeldByAnother:
    """Another autoscaler has the lease of the service."""

    holder: str


class ScaleApi:
    """Calls the admin API; raises AdminRefused or NoAnswer."""

    def __init__(self, url: str, admin_token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {**token_header(admin_token, url), "Accept": "application/json"}
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def services(self) -> list[str]:
        """Return the names of the services that run."""
        found = (await self._ask("GET", "/v1/services"))["services"]
        return [one["name"] for one in found if one["state"] == "running"]

    async def figures(self, service: str) -> dict[str, Any]:
        """Return the figures of a service."""
        found: dict[str, Any] = await self._ask("GET", service_path(service, "/scale"))
        return found

    async def report(
        self, service: str, holder: str, *, lease_s: float, fields: Mapping[str, object]
    ) -> dict[str, Any] | HeldByAnother:
        """Take or renew the lease, report, and return the figures with the history."""
        body = {"holder": holder, "lease_ms": int(lease_s * 1000), **fields}
        try:
            found: dict[str, Any] = await self._ask("PUT", service_path(service, "/scale"), body)
        except _LeaseHeld as held:
            return HeldByAnother(held.holder)
        return found

    async def give_back(self, service: str, holder: str) -> None:
        """End the lease."""
        await self._ask("DELETE", service_path(service, "/scale"), holder=holder)

    async def schedule(self, service: str) -> dict[str, Any] | None:
        """Return the scheduled scaling of a service; None without one."""
        try:
            found: dict[str, Any] = await self._ask("GET", service_path(service, "/cronscaler"))
        except AdminRefused as error:
            if error.status == 404:
                return None
            raise
        return found or None

    async def connected(self, service: str) -> set[Started]:
        """Return the connected workers by machine and process id."""
        described = await self._ask("GET", service_path(service))
        return {
            Started(str(about.get("host", "")), int(about.get("pid") or 0))
            for one in described["input"]["subscribers"]
            if (about := one["about"]).get("kind") == "worker" and one["connected"]
        }

    async def leave(self, service: str, holder: str, count: int) -> list[Leaver] | HeldByAnother:
        """Have the queue service choose workers that leave, unless another one decides by now."""
        path = service_path(service, "/workers/leave")
        try:
            said = await self._ask("POST", path, {"count": count}, holder=holder)
        except _LeaseHeld as held:
            return HeldByAnother(held.holder)
        return [Leaver(one["uid"], one["host"], one["pid"]) for one in said["leaving"]]

    async def _ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        if self._opened is None:
            # Later than __init__: an aiohttp session belongs to a running loop.
            self._opened = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
                connector=aiohttp.TCPConnector(ssl=trusted()),
            )
        try:
            async with self._opened.request(
                method, f"{self.url}{path}", json=body, params=query
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = why(error) or f"nothing within {ANSWER_TIMEOUT_S:g} s"
            raise NoAnswer(self.url, reason) from error
        if answer.status >= 400:
            raise _refusal(answer.status, text)
        return json.loads(text) if text else None


class _LeaseHeld(AdminRefused):
    def __init__(self, status: int, sentence: str, holder: str) -> None:
        super().__init__(status, sentence)
        self.holder = holder


def _refusal(status: int, text: str) -> AdminRefused:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if isinstance(fields, dict) and fields.get("code") == "LEASE_HELD":
        return _LeaseHeld(status, sentence_of(text), str(fields.get("holder", "")))
    return AdminRefused(status, sentence_of(text))


def names_of(leaving: Sequence[Leaver]) -> str:
    """Return the uids of workers, for the log."""
    return ", ".join(one.uid for one in leaving)
