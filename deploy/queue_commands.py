"""`penstock put`, `get` and `watch`: a queue service from the command line, through the SDK.

Exit codes: 0 done; 1 refused, or the job failed; 2 the command line is wrong; 3 there was
nothing, or not in time; 4 no queue service answered, or none runs here; 130 Ctrl-C.
"""

import asyncio
import base64
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from client_sdk import AsyncQueue, AsyncQueueClient, Receipt, error_of
from client_sdk.errors import ConnectionFailed, QueueError, Unavailable
from client_sdk.plain_text import one_line, without_login
from client_sdk.wire import names
from client_sdk.wire.frame import Frame
from deploy.command_name import penstock
from deploy.data_dir import DEFAULT_PATH, DataDir, data_option
from deploy.errors import CannotPrint, DeployError, ReaderLeft
from deploy.explained import Asked, advice
from deploy.printing import note, say, say_json, write_payload
from deploy.secret_option import read_secret

FAILED, NOTHING_THERE, NO_ANSWER = 1, 3, 4

#: Seconds after which a put that waits looks whether its job has ended without a result.
LOOK_EVERY_S = 5.0

Service = Annotated[str, typer.Argument(help="The service's name.")]
Url = Annotated[
    str, typer.Option(help="The queue service; by default the local mode.", envvar="PENSTOCK_URL")
]
Token = Annotated[
    str,
    typer.Option(
        help="The service's token; @FILE reads it from a file.",
        envvar="PENSTOCK_TOKEN",
        callback=read_secret,
    ),
]
Data = Annotated[Path, typer.Option("--data", help="The local mode's data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


def put(
    service: Service,
    data: Annotated[str, typer.Argument(help="The data; - reads standard input.")] = "",
    *,
    file: Annotated[Path | None, typer.Option(help="Read the data from this file.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag, as key=value; repeatable.")] = None,
    priority: Annotated[int, typer.Option(help="1 goes before all normal entries.")] = 0,
    request_id: Annotated[str, typer.Option(help="What the result will carry.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result, print it.")] = False,
    timeout: Timeout = 300.0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
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


def get(
    service: Service,
    request_id: Annotated[str, typer.Argument(help="Only this request's; default: any.")] = "",
    *,
    index: Annotated[int, typer.Option(help="The first index to consider.")] = 0,
    length: Annotated[int, typer.Option(help="How many at most.")] = 1,
    timeout: Timeout = 0.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave them in the queue.")] = False,
    from_input: Annotated[bool, typer.Option("--input", help="From the input queue.")] = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Print results and take them out of the sink."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            queue = client if from_input else client.sink
            found = await queue.get(
                index=index,
                length=length,
                timeout_s=timeout,
                # Removed once they are printed, and not by the answer that carries them.
                auto_delete=False,
                request_id=request_id,
            )
            await print_results(queue, found, as_json=as_json, keep=keep)

    run_verb(verb(), Asked(service, url, token, data_dir))


def watch(
    service: Service,
    *,
    window: Annotated[int, typer.Option(help="How many may be on their way at once.")] = 10,
    index: Annotated[int, typer.Option(help="Only from here on; -1 is what comes now.")] = 0,
    count: Annotated[int, typer.Option(help="End after so many; 0 goes on for ever.")] = 0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Print results as they come, a line each, and commit each one once it is printed."""

    async def verb() -> None:
        seen = 0
        async with (
            open_client(service, url, token, data_dir) as client,
            client.sink.watch(window=window, index=index) as frames,
        ):
            async for frame in frames:
                print_frame(frame, as_json=as_json)
                await client.sink.commit(frame)
                seen += 1
                if seen == count:
                    return

    run_verb(verb(), Asked(service, url, token, data_dir))


def open_client(
    service: str, url: str, token: str, data_dir: Path, *, uid: str = "", gid: str = ""
) -> AsyncQueueClient:
    """Return a client of a service, of the local mode's when there is no url."""
    if not url:
        home = DataDir(data_dir)
        running = home.running()
        url, token = running.url, token or home.token_of(service) or running.token
    return AsyncQueueClient(url, service, token=token, uid=uid, gid=gid or names.DEFAULT_GROUP)


def run_verb(verb: Coroutine[Any, Any, None], asked: Asked | None = None) -> None:
    """Run one verb and end the program with the code that its end means."""
    with exit_codes(asked):
        asyncio.run(verb)


@contextmanager
def exit_codes(asked: Asked | None = None) -> Iterator[None]:
    """End the program with the code that the end of this block means.

    asked: of whom, for a hint about what helps.
    """
    try:
        yield
    except (ConnectionFailed, Unavailable) as error:
        end_with(str(error), NO_ANSWER)
    except QueueError as error:
        note(str(error), colour=typer.colors.RED)
        if hint := asyncio.run(advice(error, asked)):
            note(hint)
        raise typer.Exit(FAILED) from None
    except ReaderLeft as left:
        raise typer.Exit(left.exit_code) from None
    except DeployError as error:
        end_with(str(error), error.exit_code)


async def _wait(client: AsyncQueueClient, receipt: Receipt, *, timeout_s: float) -> list[Frame]:
    """Wait for a result, and say so when the job seems to have ended without one."""
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
    # The result is stored in the step that removes the entry, so it is there by now or never was.
    # One exception is an entry that was put back at the tail: therefore the waiting goes on.
    found = await client.sink.get(request_id=receipt.request_id, auto_delete=False)
    if found:
        return found
    note(
        "the entry has left the input queue and there is no result: a handler that returns None "
        "leaves none; still waiting"
    )
    wait_s = max(0.0, deadline - loop.time())
    return await client.sink.get(request_id=receipt.request_id, timeout_s=wait_s, auto_delete=False)


def end_with(sentence: str, code: int) -> NoReturn:
    note(sentence, colour=typer.colors.RED)
    raise typer.Exit(code)


def read_data(data: str, file: Path | None) -> bytes:
    if file is not None and data:
        raise typer.BadParameter("give the data or --file, not both")
    if file is not None:
        try:
            return file.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from error
    if data == "-":
        return sys.stdin.buffer.read()
    if not data:
        raise typer.BadParameter("give the data, - for standard input, or --file")
    return data.encode()


def read_tags(pairs: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"expected --tag key=value, got {pair!r}")
        tags[key] = value
    return tags


async def print_results(
    queue: AsyncQueue,
    frames: list[Frame],
    *,
    as_json: bool,
    keep: bool = False,
    nothing: str = "nothing there",
) -> None:
    """Print results, and then remove them from the queue; end the program when a job failed.

    An error is no result: it does not go where the results go.
    """
    if not frames:
        end_with(nothing, NOTHING_THERE)
    results = [frame for frame in frames if as_json or error_of(frame) is None]
    for frame in results:
        if as_json:
            print_frame(frame, as_json=True)
        else:
            write_payload(frame.data, between=len(results) > 1)
    errors = [error.text for frame in frames if (error := error_of(frame))]
    told = [note(f"the job failed: {text}", colour=typer.colors.RED) for text in errors]
    if not as_json and not all(told):
        raise CannotPrint("standard error takes no more")
    if not keep:
        await queue.delete(frames)
    if errors:
        raise typer.Exit(FAILED)


def print_frame(frame: Frame, *, as_json: bool) -> None:
    """Print a frame as one line: for people, or as a JSON object."""
    request_id = frame.tags.get(names.REQUEST_ID_TAG, "")
    if not as_json:
        text = one_line(frame.data.decode(errors="replace"))
        mark = "error: " if error_of(frame) else ""
        say(f"{frame.index}\t{one_line(request_id)}\t{mark}{text}")
        return
    shown: dict[str, object] = {
        "index": frame.index,
        "request_id": request_id,
        "tags": dict(frame.tags),
    }
    if error := error_of(frame):
        shown["error"] = error.text
    try:
        shown["data"] = frame.data.decode()
    except UnicodeDecodeError:
        shown["data_base64"] = base64.b64encode(frame.data).decode("ascii")
    say_json(shown)
