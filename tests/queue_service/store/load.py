"""A steady load that nothing may be lost of: puts, workers, and the count at the end."""

import asyncio
from collections import Counter

import aiohttp

from client_sdk.wire import frame, names
from tests.promises.conftest import Client
from tests.waiting import wait_until

#: Seconds until a load that was hindered must flow again; a busy machine takes its time.
PATIENCE_S = 40.0


class Load:
    """Puts into one service for ever, each request id again and again until it is accepted.

    accepted: the request ids of puts that were answered with 200.
    refusals: how often each status and word was the answer to another one.
    """

    def __init__(
        self, client: Client, service: str = "svc", *, putters: int = 3, name: str = "first"
    ) -> None:
        self._name = name
        self.accepted: list[str] = []
        self.refusals: Counter[str] = Counter()
        self._session = client.session
        self._address = f"{client.url}{names.EAS_PREFIX}/{service}"
        self._stop = asyncio.Event()
        self._stopping = asyncio.create_task(self._stop.wait())
        self._putting = [asyncio.create_task(self._put(number)) for number in range(putters)]

    async def _put(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            request_id = f"{self._name}-{number}-{count}"
            if await self._is_accepted(request_id):
                self.accepted.append(request_id)
                count += 1
            else:
                await asyncio.wait({self._stopping}, timeout=0.05)

    async def _is_accepted(self, request_id: str) -> bool:
        query = {names.REQUEST_ID_TAG: request_id}
        try:
            async with self._session.post(self._address, data=b"x", params=query) as answer:
                if answer.status == 200:
                    return True
                assert answer.status == 503, await answer.text()
                self.refusals[answer.headers[names.ERROR_CODE_HEADER]] += 1
        except aiohttp.ClientError as error:
            self.refusals[type(error).__name__] += 1
        return False

    async def flows(self, count: int = 50) -> None:
        """Return when that many more have been accepted."""
        before = len(self.accepted)
        await wait_until(
            lambda: len(self.accepted) >= before + count, "puts are accepted", PATIENCE_S
        )

    async def check(self) -> None:
        """End the load; every accepted put must have one result, and no other is there."""
        self._stop.set()
        await asyncio.gather(self._stopping, *self._putting)
        await wait_until(self._drained, "every accepted entry was answered", PATIENCE_S)
        results: Counter[str] = Counter()
        while found := await self._read():
            results.update(found)
        wanted = Counter(self.accepted)
        assert wanted - results == Counter(), "lost"
        assert results - wanted == Counter(), "there twice, or never accepted"

    async def _drained(self) -> bool:
        async with self._session.get(self._address, params={names.ATTRIBUTES: "true"}) as answer:
            return answer.status == 200 and (await answer.json())["stream.length"] == "0"

    async def _read(self) -> list[str]:
        query = {names.RAW: "false", names.LENGTH: "1000"}
        async with self._session.get(f"{self._address}/sink", params=query) as answer:
            assert answer.status in {200, 204}, await answer.text()
            if answer.status == 204:
                return []
            frames = frame.decode_json_list(await answer.read())
            return [one.tags[names.REQUEST_ID_TAG] for one in frames]
