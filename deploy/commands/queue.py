"""`penstock queue put`, `get`, `watch`, `commit`, ...: one queue, every operation.  Also `stream`.

The queue is a service's name for its input queue, or `SERVICE/sink`, as in its URL.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 3 there was nothing, or not in time;
4 no queue service answered, or none runs here; 130 Ctrl-C.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from client_sdk import AsyncQueue
from client_sdk.plain_text import one_line
from client_sdk.wire import names
from deploy.commands.entries import print_frame, read_data, read_tags
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Timeout, Token, Url, Yes, confirm
from deploy.commands.printing import say, say_json
from deploy.commands.session import end_with, open_client, run_verb
from deploy.exit_codes import NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

stream = typer.Typer(
    help="One queue, by its name: SERVICE is its input queue, SERVICE/sink its sink.",
    no_args_is_help=True,
)

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="SERVICE or SERVICE/sink.")]
Index = Annotated[int, typer.Argument(min=0, help="An entry's index.")]
Indexes = Annotated[list[int], typer.Argument(min=0, help="Entries' indexes.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="key=value; repeatable.")]
User = Annotated[str, typer.Option("--uid", help="The user; by default, a generated name.")]
Group = Annotated[str, typer.Option("--gid", help="Its group.")]


def _on(
    queue: str,
    verb: Callable[[AsyncQueue], Awaitable[None]],
    url: str,
    token: str,
    data_dir: Path,
    *,
    uid: str = "",
    gid: str = "",
) -> None:
    """Run one operation on a queue, and exit with the code of its error."""
    service, _, role = queue.partition("/")
    if not service or role not in ("", names.SINK):
        raise typer.BadParameter(f"expected SERVICE or SERVICE/{names.SINK}, got {queue!r}")

    async def run() -> None:
        async with open_client(service, url, token, data_dir, uid=uid, gid=gid) as client:
            await verb(client.sink if role else client)

    run_verb(run(), Asked(service, url, token, data_dir))


def _done(as_json: bool, **what: object) -> None:
    if as_json:
        say_json(what)
    else:
        say("OK")


@stream.command()
def put(
    queue: Queue,
    data: Annotated[str, typer.Argument(help="The data; - reads standard input.")] = "",
    *,
    file: Annotated[Path | None, typer.Option(help="Read the data from this file.")] = None,
    tag: Tags = None,
    priority: Annotated[int, typer.Option(min=0, help="1 goes before all normal entries.")] = 0,
    request_id: Annotated[str, typer.Option(help="By default, one is generated.")] = "",
    path: Annotated[str, typer.Option(help="For an engine that is an HTTP server.")] = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Put an entry; print its index and its request id."""
    body, tags = read_data(data, file), read_tags(tag or [])

    async def verb(opened: AsyncQueue) -> None:
        receipt = await opened.put(
            body, tags=tags, priority=priority, request_id=request_id, path=path
        )
        if as_json:
            say_json({"index": receipt.index, "request_id": receipt.request_id})
        else:
            say(f"{receipt.index}\t{receipt.request_id}")

    _on(queue, verb, url, token, data_dir)


@stream.command()
def get(
    queue: Queue,
    *,
    index: Annotated[int, typer.Option(min=-1, help="From here on; -1 is the newest.")] = 0,
    length: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1,
    timeout: Timeout = 0.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave them in the queue.")] = False,
    request_id: Annotated[str, typer.Option(help="Only this request's.")] = "",
    tag: Tags = None,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print entries, one per line, and remove them from the queue."""
    tags = read_tags(tag or [])

    async def verb(opened: AsyncQueue) -> None:
        frames = await opened.get(
            index=index,
            length=length,
            timeout_s=timeout,
            # Delete them after they are printed, not when they are sent.
            auto_delete=False,
            request_id=request_id,
            tags=tags,
        )
        for frame in frames:
            print_frame(frame, as_json=as_json)
        if not frames:
            end_with("nothing there", NOTHING_THERE)
        if not keep:
            await opened.delete(frames)

    _on(queue, verb, url, token, data_dir)


@stream.command()
def watch(
    queue: Queue,
    *,
    index: Annotated[int, typer.Option(min=-1, help="From here on; -1 is what comes now.")] = 0,
    window: Annotated[
        int, typer.Option(min=1, help="Maximum number of entries sent and not yet committed.")
    ] = 10,
    index_only: Annotated[bool, typer.Option("--index-only", help="Leave out the data.")] = False,
    auto_commit: Annotated[
        bool,
        typer.Option(
            "--auto-commit", help="Commit entries when they are sent, not when they are printed."
        ),
    ] = False,
    tag: Tags = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after this many; 0 means never.")] = 0,
    uid: User = "",
    gid: Group = names.DEFAULT_GROUP,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print entries as they arrive, one per line, and commit each after printing it."""
    tags = read_tags(tag or [])

    async def verb(opened: AsyncQueue) -> None:
        seen = 0
        subscription = opened.watch(
            index=index, window=window, tags=tags, index_only=index_only, auto_commit=auto_commit
        )
        async with subscription as frames:
            async for frame in frames:
                print_frame(frame, as_json=as_json)
                if not auto_commit:
                    await opened.commit(frame)
                seen += 1
                if seen == count:
                    return

    _on(queue, verb, url, token, data_dir, uid=uid, gid=gid)


@stream.command()
def commit(
    queue: Queue,
    indexes: Indexes,
    *,
    negative: Annotated[bool, typer.Option("--negative", help="Reject them instead.")] = False,
    code: Annotated[str, typer.Option(help="Why: one capitalised word, or a number.")] = "",
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")] = "",
    uid: User = "",
    gid: Group = names.DEFAULT_GROUP,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Commit entries for a group; entries that another user holds stay."""

    async def verb(opened: AsyncQueue) -> None:
        if negative:
            await opened.reject(indexes, code=code, reason=reason)
        else:
            await opened.commit(indexes)
        _done(as_json, indexes=indexes)

    _on(queue, verb, url, token, data_dir, uid=uid, gid=gid)


@stream.command()
def delete(
    queue: Queue,
    indexes: Indexes,
    *,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Remove entries, including those that a subscriber holds."""

    async def verb(opened: AsyncQueue) -> None:
        await opened.delete(indexes)
        _done(as_json, indexes=indexes)

    _on(queue, verb, url, token, data_dir)


@stream.command()
def search(
    queue: Queue,
    index: Index,
    *,
    gid: Annotated[
        str, typer.Option(help="The group to report for; by default the workers'.")
    ] = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Show who holds an entry, or how many entries are before it."""

    async def verb(opened: AsyncQueue) -> None:
        place = await opened.search(index)
        if place is None:
            end_with("no data in stream", NOTHING_THERE)
        elif as_json:
            found = {
                "ConsumerId": place.subscriber,
                "IsPending": place.pending,
                "WaitCount": place.waiting,
            }
            say_json(found)
        else:
            say(f"held by {place.subscriber}" if place.pending else f"{place.waiting} before it")

    _on(queue, verb, url, token, data_dir, gid=gid or queue.partition("/")[0])


@stream.command()
def count(
    queue: Queue,
    *,
    tag: Tags = None,
    priority: Annotated[int | None, typer.Option(min=0, help="Only these; 0 is normal.")] = None,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print how many entries are stored."""
    tags = read_tags(tag or [])

    async def verb(opened: AsyncQueue) -> None:
        found = await opened.count(tags=tags, priority=priority)
        if as_json:
            say_json({"count": found})
        else:
            say(found)

    _on(queue, verb, url, token, data_dir)


@stream.command()
def attrs(
    queue: Queue,
    *,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print the queue's attributes: its limits, its length, its subscribers."""

    async def verb(opened: AsyncQueue) -> None:
        attributes = await opened.attributes()
        if as_json:
            say_json(attributes)
            return
        for name in sorted(attributes):
            say(one_line(f"{name} : {attributes[name]}"))

    _on(queue, verb, url, token, data_dir)


@stream.command()
def truncate(
    queue: Queue,
    index: Annotated[int, typer.Argument(min=0, help="The first entry that stays.")] = 0,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove every entry.")] = False,
    yes: Yes = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Remove every entry before an index, or all of them."""
    if everything == bool(index):
        raise typer.BadParameter("give the index of the first entry that stays, or --all")

    async def verb(opened: AsyncQueue) -> None:
        before = await opened.attributes()
        below = int(before["stream.lastEntry"]) + 1 if everything else index
        which = "all" if everything else f"those before {index} of"
        confirm(f"remove {which} {before['stream.length']} entries of {queue} for good", yes=yes)
        await opened.truncate(below)
        # Without a lock around these calls, concurrent puts and reads change the number.
        removed = max(0, int(before["stream.length"]) - await opened.count())
        if as_json:
            say_json({"below": below, "removed": removed})
        else:
            say(f"{removed} entries removed")

    _on(queue, verb, url, token, data_dir)


@stream.command()
def end(
    queue: Queue,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Drop the entries that no subscriber holds.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Accept puts again.")] = False,
    yes: Yes = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Refuse further puts; stored entries are still delivered."""
    if force and undo:
        raise typer.BadParameter(
            "--force drops entries, which --undo cannot restore; give only one of them"
        )
    if force:
        confirm(f"end {queue} and drop every entry that no subscriber holds", yes=yes)

    async def verb(opened: AsyncQueue) -> None:
        await (opened.open_stream() if undo else opened.end_stream(force=force))
        _done(as_json, ended=not undo)

    _on(queue, verb, url, token, data_dir)
