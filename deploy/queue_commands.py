"""`penstock put`, `get` and `watch`: a queue service from the command line, through the SDK.

Exit codes: 0 done; 1 refused, or the job failed; 2 the command line is wrong; 3 there was
nothing, or not in time; 4 no queue service answered; 130 Ctrl-C.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk import AsyncQueueClient
from client_sdk.errors import ConnectionFailed, QueueError, Unavailable
from client_sdk.wire import names
from client_sdk.wire.frame import Frame
from deploy.data_dir import DataDir
from deploy.errors import DeployError

FAILED, NOTHING_THERE, NO_ANSWER = 1, 3, 4

Service = Annotated[str, typer.Argument(help="The service's name.")]
Url = Annotated[
    str, typer.Option(help="The queue service; by default the local mode.", envvar="PENSTOCK_URL")
]
Token = Annotated[str, typer.Option(help="The service's token.", envvar="PENSTOCK_TOKEN")]
Data = Annotated[Path, typer.Option("--data", help="The local mode's data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]

LOCAL_DATA = Path(".penstock")


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
    data_dir: Data = LOCAL_DATA,
    as_json: AsJson = False,
) -> None:
    """Put an entry into a service's input queue and print its request id."""
    body = _read_data(data, file)
    tags = _read_tags(tag or [])

    async def verb() -> None:
        async with _client(service, url, token, data_dir) as client:
            receipt = await client.put(body, tags=tags, priority=priority, request_id=request_id)
            if wait:
                found = await client.sink.get(request_id=receipt.request_id, timeout_s=timeout)
                _show_all(found, as_json=as_json)
            elif as_json:
                print(json.dumps({"index": receipt.index, "request_id": receipt.request_id}))
            else:
                print(receipt.request_id)

    _run(verb())


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
    data_dir: Data = LOCAL_DATA,
    as_json: AsJson = False,
) -> None:
    """Print results and take them out of the sink."""

    async def verb() -> None:
        async with _client(service, url, token, data_dir) as client:
            queue = client if from_input else client.sink
            found = await queue.get(
                index=index,
                length=length,
                timeout_s=timeout,
                auto_delete=not keep,
                request_id=request_id,
            )
            _show_all(found, as_json=as_json)

    _run(verb())


def watch(
    service: Service,
    *,
    window: Annotated[int, typer.Option(help="How many may be on their way at once.")] = 10,
    index: Annotated[int, typer.Option(help="Only from here on; -1 is what comes now.")] = 0,
    count: Annotated[int, typer.Option(help="End after so many; 0 goes on for ever.")] = 0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = LOCAL_DATA,
    as_json: AsJson = False,
) -> None:
    """Print results as they come, a line each, and commit each one once it is printed."""

    async def verb() -> None:
        seen = 0
        async with (
            _client(service, url, token, data_dir) as client,
            client.sink.watch(window=window, index=index) as frames,
        ):
            async for frame in frames:
                print(_line(frame, as_json=as_json), flush=True)
                await client.sink.commit(frame)
                seen += 1
                if seen == count:
                    return

    _run(verb())


def _client(service: str, url: str, token: str, data_dir: Path) -> AsyncQueueClient:
    if not url:
        running = DataDir(data_dir).running()
        url, token = running.url, token or running.token
    return AsyncQueueClient(url, service, token=token)


def _run(verb: Coroutine[Any, Any, None]) -> None:
    """Run one verb and end the program with the code that its end means."""
    try:
        asyncio.run(verb)
    except (ConnectionFailed, Unavailable) as error:
        _end(str(error), NO_ANSWER)
    except (QueueError, DeployError) as error:
        _end(str(error), FAILED)
    except BrokenPipeError:
        # Whoever read us, such as `head`, has seen enough. Python would complain about it once
        # more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(sentence: str, code: int) -> None:
    typer.secho(sentence, fg=typer.colors.RED, err=True)
    raise typer.Exit(code)


def _read_data(data: str, file: Path | None) -> bytes:
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


def _read_tags(pairs: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"expected --tag key=value, got {pair!r}")
        tags[key] = value
    return tags


def _show_all(frames: list[Frame], *, as_json: bool) -> None:
    if not frames:
        _end("nothing there", NOTHING_THERE)
    for frame in frames:
        if as_json:
            print(_line(frame, as_json=True))
        else:
            # Exactly the bytes, so that a result can be an image in a pipe; on a terminal, or
            # between several, a line end keeps them apart.
            sys.stdout.buffer.write(frame.data)
            if sys.stdout.isatty() or len(frames) > 1:
                sys.stdout.buffer.write(b"\n")
            sys.stdout.flush()
    if any(names.LAST_CODE_TAG in frame.tags for frame in frames):
        _end("the job failed; its result is the error", FAILED)


def _line(frame: Frame, *, as_json: bool) -> str:
    """Return a frame as one line: for people, or as a JSON object."""
    request_id = frame.tags.get(names.REQUEST_ID_TAG, "")
    if not as_json:
        text = frame.data.decode(errors="replace").replace("\n", "\\n")
        return f"{frame.index}\t{request_id}\t{text}"
    shown: dict[str, object] = {
        "index": frame.index,
        "request_id": request_id,
        "tags": dict(frame.tags),
    }
    try:
        shown["data"] = frame.data.decode()
    except UnicodeDecodeError:
        shown["data_base64"] = base64.b64encode(frame.data).decode("ascii")
    return json.dumps(shown, ensure_ascii=False)
