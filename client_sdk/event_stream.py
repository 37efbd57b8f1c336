"""Follows server-sent events of the jobs API, across broken connections."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator

import aiohttp
from yarl import URL

from client_sdk import errors
from client_sdk.job_calls import JobEvent
from client_sdk.refusals import from_answer
from client_sdk.replicas import is_about_replica
from client_sdk.transport import Transport
from client_sdk.unreachable import why

#: An event stream that is silent for this long, in seconds, is opened again.  The service sends a
#: comment every 15 s, so this is three missed ones.
SILENCE_S = 45.0
_LONGEST_LINE_BYTES = 16 * 1024 * 1024


async def follow_events(
    transport: Transport, path: str, *, after: str = ""
) -> AsyncGenerator[JobEvent, None]:
    """Yield the events under a path of the jobs API until `end` or `gone`.

    after: the id of the last event that the caller has seen.
    """
    backoff = transport.retry.backoff()
    while True:
        replica = transport.replicas.current
        try:
            async with contextlib.aclosing(_one_stream(transport, path, after)) as stream:
                async for event in stream:
                    after = event.id or after
                    backoff.reset()
                    yield event
                    if event.kind in ("end", "gone"):
                        return
        except errors.QueueError as error:
            if not error.transient or backoff.tries >= transport.retry.retries:
                raise
            if is_about_replica(error):
                transport.replicas.pass_over(replica)
        await asyncio.sleep(backoff.next_delay_s())


async def _one_stream(
    transport: Transport, path: str, after: str
) -> AsyncGenerator[JobEvent, None]:
    url = f"{transport.replicas.current}{transport.jobs_path}{path}"
    try:
        async with transport.session.get(
            URL(url, encoded=True),
            headers={"Last-Event-ID": after} if after else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S),
            read_bufsize=_LONGEST_LINE_BYTES,
        ) as response:
            if response.status != 200:
                body = await response.read()
                raise from_answer(response.status, response.headers, body, url=url)
            fields: dict[str, str] = {}
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "event" in fields:
                    yield JobEvent(
                        fields["event"], json.loads(fields["data"]), fields.get("id", "")
                    )
                    fields = {}
    except (aiohttp.ClientError, OSError) as error:
        sentence = why(error) or "the stream ended"
        raise errors.ConnectionFailed(sentence, url=url) from error
