"""Sends one webhook: connects to a checked address, follows no redirect, waits a bounded time."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from queue_service.service.webhooks.address import Address, Allowed, Refused, Resolver

#: A lease is longer than an attempt by this, in seconds.
LEASE_BEYOND_S = 10.0
#: How much of a response is read: its body has no meaning here.
READ_BYTES = 4096
#: Attempts of one process at once, of all services.
MOST_AT_ONCE = 256
#: How long a host counts as checked when a webhook is set up, in seconds, and how many do.
CHECKED_S, MOST_CHECKED = 60.0, 1000
#: How many addresses of a name one attempt tries.
MOST_ADDRESSES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an attempt.  status: 0 without a response; then `error` says why."""

    status: int = 0
    error: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timed_out: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Post:
    """Sends the webhooks of one process.

    timeout_s: of one attempt, from the look at the name to the end of the response.
    """

    def __init__(self, allowed: Allowed, *, timeout_s: float, scale: float) -> None:
        #: Checks addresses, also those of webhooks that are being set up.
        self.resolver = Resolver(allowed)
        #: Of the schedule of further attempts.
        self.scale = scale
        #: How long an attempt may take until another process makes it again, in ms.
        self.lease_ms = round((timeout_s + LEASE_BEYOND_S) * 1000)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._sending = 0
        self._checked: dict[tuple[str, str], float] = {}

    @property
    def free(self) -> int:
        """How many more attempts may begin now."""
        return max(0, MOST_AT_ONCE - self._sending)

    async def close(self) -> None:
        """Close every connection."""
        self.resolver.close()
        if self._session is not None:
            await self._session.close()

    async def check(self, url: URL, *, of_requests: bool = False) -> None:
        """Raise as the resolver does for a URL that must not receive anything.

        A host that was fine a moment ago is not looked up again: each attempt does that.
        """
        key, now = (url.scheme, url.host or ""), time.monotonic()
        if self._checked.get(key, -CHECKED_S) + CHECKED_S > now:
            return
        await self.resolver.addresses(url, of_requests=of_requests)
        if len(self._checked) >= MOST_CHECKED:
            self._checked.clear()
        self._checked[key] = now

    async def send(
        self, text: str, body: str, headers: Mapping[str, str], *, of_requests: bool = False
    ) -> Answer:
        """Make one attempt; an error is an answer too.

        of_requests: a client has chosen the URL, and not the owner of the service.
        """
        self._sending += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                url = URL(text)
                addresses = await self.resolver.addresses(url, of_requests=of_requests)
                return await self._send(url, addresses, body, headers)
        except TimeoutError:
            return Answer(error=f"no response within {self._timeout_s:g} s", timed_out=True)
        except Refused as error:
            return Answer(error=f"not sent: {error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=_said(error))
        finally:
            self._sending -= 1

    async def _send(
        self, url: URL, addresses: list[Address], body: str, headers: Mapping[str, str]
    ) -> Answer:
        tried = addresses[:MOST_ADDRESSES]
        for address in tried:
            try:
                async with self._request(url, address, body, headers) as response:
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        await response.content.read(READ_BYTES)
                    error = "" if 200 <= response.status < 300 else f"status {response.status}"
                    return Answer(response.status, error, dict(response.headers))
            except aiohttp.ClientConnectorError:
                if address == tried[-1]:
                    raise
        raise OSError("no address")

    @contextlib.asynccontextmanager
    async def _request(
        self, url: URL, address: Address, body: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Connect to this very address: the name is not resolved again."""
        if self._session is None:
            # A kept connection would outlive the check of its address.
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=_tls())
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        kwargs: dict[str, Any] = {}
        if url.scheme == "https":
            kwargs["server_hostname"] = url.raw_host
        async with self._session.post(
            url.with_host(str(address)),
            data=body.encode(),
            headers={**headers, "Host": url.raw_authority},
            allow_redirects=False,
            **kwargs,
        ) as response:
            yield response


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    # A receiver may have sent bytes that are no text.
    return text.encode("ascii", "backslashreplace").decode()[:256]
