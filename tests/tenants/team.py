"""A team and everything that it can ask for, on every API."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from client_sdk.wire import names
from tests.queue_service.web.jobs.api import Answer, JobsApi
from tests.running import ADMIN_TOKEN

#: What a team's token may do.
SCOPES = ("submit", "read", "cancel")


@dataclass
class Team:
    """A client with one token."""

    session: aiohttp.ClientSession
    url: str
    token: str
    token_id: str = ""
    service: str = "svc"
    jobs: JobsApi = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = JobsApi(self.session, self.url, self.service)

    async def call(self, method: str, path: str = "", **more: Any) -> Answer:
        """Ask the jobs API; path begins behind `jobs`."""
        headers = {"Authorization": self.token, **more.pop("headers", {})}
        return await self.jobs.call(method, path, headers=headers, **more)

    async def eas(self, method: str, path: str = "", **more: Any) -> Answer:
        """Ask the EAS API; path begins behind the name of the service."""
        headers = {"Authorization": self.token, **more.pop("headers", {})}
        address = self.jobs.eas + path
        async with self.session.request(method, address, headers=headers, **more) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, found, await answer.read())

    async def put(self, data: bytes, request_id: str = "", **tags: str) -> str:
        """Put an entry through EAS; return its index."""
        query = {names.REQUEST_ID_TAG: request_id} if request_id else {}
        answer = await self.eas("POST", params=query | tags, data=data)
        assert answer.status == 200, answer
        return answer.body.decode()

    async def frames(self, path: str = "/sink", *, delete: bool = False, **query: str) -> Any:
        """Read frames through EAS: (request id, data) of each."""
        wish = {names.RAW: "false", names.LENGTH: "100", names.AUTO_DELETE: str(delete).lower()}
        answer = await self.eas("GET", path, params=wish | query)
        assert answer.status in (200, 204), answer
        frames = json.loads(answer.body) if answer.body else []
        return [
            (frame["tags"][names.REQUEST_ID_TAG], base64.b64decode(frame["data"]))
            for frame in frames
        ]

    async def number(self, path: str, **query: str) -> int:
        """Count the entries of a queue."""
        answer = await self.eas("GET", path, params={names.COUNT: "true", **query})
        assert answer.status == 200, answer
        return int(answer.body)

    async def listed(self, **query: str) -> list[str]:
        """The ids of every job that the list shows, page by page."""
        found: list[str] = []
        after = ""
        while True:
            more = {"after": after} if after else {}
            answer = await self.call("GET", params=query | more)
            assert answer.status == 200, answer
            found += [job["id"] for job in answer.json["jobs"]]
            after = answer.json["after"]
            if not after:
                return found

    async def make(self, *scopes: str, **wish: Any) -> "Team":
        """Make another token, and give who carries it."""
        body = {"scopes": list(scopes or SCOPES), **wish}
        headers = {"Authorization": ADMIN_TOKEN}
        address = f"{self.url}/v1/tokens"
        async with self.session.post(address, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            made = await answer.json()
        return Team(self.session, self.url, made["token"], made["id"], self.service)
