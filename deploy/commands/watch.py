"""`penstock watch`: print results as they arrive, and commit each."""

from typing import Annotated

import typer

from deploy.commands.entries import print_frame
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Service, Token, Url
from deploy.commands.session import open_client, run_verb
from deploy.local.data_dir import DEFAULT_PATH


def watch(
    service: Service,
    *,
    window: Annotated[
        int, typer.Option(help="Maximum number of results sent and not yet committed.")
    ] = 10,
    index: Annotated[int, typer.Option(help="Only from this index on; -1 means new results.")] = 0,
    count: Annotated[int, typer.Option(help="Stop after this many; 0 means never.")] = 0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print results as they arrive, one per line; commit each after it is printed."""

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
