"""`penstock get`: print results of a service, and delete them."""

from typing import Annotated

import typer

from deploy.commands.entries import print_results
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Service, Timeout, Token, Url
from deploy.commands.session import open_client, run_verb
from deploy.local.data_dir import DEFAULT_PATH


def get(
    service: Service,
    request_id: Annotated[
        str, typer.Argument(help="Only the result of this request; default: any.")
    ] = "",
    *,
    index: Annotated[int, typer.Option(help="The first index to consider.")] = 0,
    length: Annotated[int, typer.Option(help="How many at most.")] = 1,
    timeout: Timeout = 0.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave them in the queue.")] = False,
    from_input: Annotated[bool, typer.Option("--input", help="From the input queue.")] = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print results and remove them from the sink."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            queue = client if from_input else client.sink
            found = await queue.get(
                index=index,
                length=length,
                timeout_s=timeout,
                # Delete them after they are printed, not when they are sent.
                auto_delete=False,
                request_id=request_id,
            )
            await print_results(queue, found, as_json=as_json, keep=keep)

    run_verb(verb(), Asked(service, url, token, data_dir))
