"""The jobs API as a test sees it: plain HTTP."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

#: How a put is answered that was taken: the job waits, or has been done already.
TAKEN = (202, 200)


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body that is JSON or bytes."""

    status: int
    headers: "dict[str, str]"
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Sent:
    """One server-sent event; id is "" for one that has none."""

    kind: str
    data: Any
    id: str = ""


@dataclass
class JobsApi:
    """One service's jobs."""

    session: aiohttp.ClientSession
    url: str
    service: str = "svc"
    base: str = field(init=False)
    eas: str = field(init=False)

    def __post_init__(self) -> None:
        self.eas = f"{self.url}/api/predict/{self.service}"
        self.base = f"{self.url}/v1/services/{self.service}/jobs"

    async def call(self, method: str, path: str = "", **more: Any) -> Answer:
        async with self.session.request(method, self.base + path, **more) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, await answer.read())

    async def submit(self, data: bytes = b"x", **more: Any) -> str:
        """Put a job that is taken; return its id."""
        answer = await self.call("POST", data=data, **more)
        assert answer.status in TAKEN, answer
        job_id: str = answer.json["id"]
        return job_id

    async def job(self, job_id: str) -> Any:
        answer = await self.call("GET", f"/{job_id}")
        assert answer.status == 200, answer
        return answer.json

    async def state(self, job_id: str) -> str:
        return str((await self.job(job_id))["state"])

    async def events(
        self, job_id: str, last_id: str = "", *, token: str = ""
    ) -> AsyncIterator[Sent]:
        """Give the events of a job until the stream ends; token: in place of the session's own."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        if token:
            headers["Authorization"] = token
        async with self.session.get(f"{self.base}/{job_id}/events", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/event-stream"
            fields: dict[str, str] = {}
            async for raw in answer.content:
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    yield Sent(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                    fields = {}


def text_of(events: "list[Sent]") -> str:
    """The text that a follower of these events has."""
    text = ""
    for event in events:
        if event.kind == "attempt":
            text = ""
        elif event.kind == "delta":
            text += event.data["text"]
    return text
