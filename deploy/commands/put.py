"""`penstock put`: an entry for a service's input queue, and its result with `--wait`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from client_sdk import AsyncQueueClient, Receipt
from client_sdk.plain_text import without_login
from client_sdk.wire.frame import Frame
from deploy.commands.entries import print_results, read_data, read_tags
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Service, Timeout, Token, Url
from deploy.commands.printing import note, say, say_json
from deploy.commands.session import open_client, run_verb
from deploy.errors import penstock
from deploy.local.data_dir import DEFAULT_PATH, data_option

#: Seconds between checks whether the job has ended without a result.
LOOK_EVERY_S = 5.0


def put(
    service: Service,
    data: Annotated[str, typer.Argument(help="The data; - reads standard input.")] = "",
    *,
    file: Annotated[Path | None, typer.Option(help="Read the data from this file.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag, as key=value; repeatable.")] = None,
    priority: Annotated[int, typer.Option(help="1 goes before all normal entries.")] = 0,
    request_id: Annotated[
        str, typer.Option(help="The request id; by default, one is generated.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
    timeout: Timeout = 300.0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Put an entry into a service's input queue and print its request id."""
    body = read_data(data, file)
    tags = read_tags(tag or [])

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            receipt = await client.put(body, tags=tags, priority=priority, request_id=request_id)
            if wait:
                note(f"request {receipt.request_id}, waiting for the result")
                where = f" --url {without_login(url)}" if url else data_option(data_dir)
                ask = f"{penstock()} get {service} {receipt.request_id}{where}"
                try:
                    found = await _wait(client, receipt, timeout_s=timeout)
                except asyncio.CancelledError:
                    note(f"interrupted: the job goes on; `{ask}` prints its result")
                    raise
                later = f"no result within {timeout:g} s; ask again with `{ask}`"
                await print_results(client.sink, found, as_json=as_json, nothing=later)
            elif as_json:
                say_json({"index": receipt.index, "request_id": receipt.request_id})
            else:
                say(receipt.request_id)

    run_verb(verb(), Asked(service, url, token, data_dir))


async def _wait(client: AsyncQueueClient, receipt: Receipt, *, timeout_s: float) -> list[Frame]:
    """Wait for a result; report when the job seems to have ended without one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        wait_s = min(LOOK_EVERY_S, max(0.0, deadline - loop.time()))
        found = await client.sink.get(
            request_id=receipt.request_id, timeout_s=wait_s, auto_delete=False
        )
        if found or loop.time() >= deadline:
            return found
        if await client.search(receipt.index) is None:
            break
    # One step removes the entry and stores its result, so the result exists now or never will.
    # The exception is an entry that went back to the tail of the queue, so keep waiting.
    found = await client.sink.get(request_id=receipt.request_id, auto_delete=False)
    if found:
        return found
    note("the job ended without a result (a handler that returns None stores none); still waiting")
    wait_s = max(0.0, deadline - loop.time())
    return await client.sink.get(request_id=receipt.request_id, timeout_s=wait_s, auto_delete=False)
