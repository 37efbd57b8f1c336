"""What every command needs: a client, and the right exit code.

Exit codes are in `deploy.exit_codes`.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

from client_sdk import AsyncQueueClient
from client_sdk.errors import ConnectionFailed, QueueError, Unavailable
from client_sdk.wire import names
from deploy.admin import AdminApi
from deploy.commands.explained import Asked, advice
from deploy.commands.printing import note
from deploy.errors import DeployError, ReaderLeft
from deploy.exit_codes import FAILED, NO_ANSWER
from deploy.local.data_dir import DataDir


def open_client(
    service: str, url: str, token: str, data_dir: Path, *, uid: str = "", gid: str = ""
) -> AsyncQueueClient:
    """Return a client of a service; without a url, of the local mode."""
    if not url:
        home = DataDir(data_dir)
        running = home.running()
        url, token = running.url, token or home.token_of(service) or running.token
    return AsyncQueueClient(url, service, token=token, uid=uid, gid=gid or names.DEFAULT_GROUP)


def open_admin(url: str, admin_token: str, data_dir: Path) -> AdminApi:
    """Return the admin API at `url`, or the local mode's; raises NotRunning without either."""
    if url:
        return AdminApi(url, admin_token)
    running = DataDir(data_dir).running()
    return AdminApi(running.url, admin_token or running.admin_token)


def run_verb(verb: Coroutine[Any, Any, None], asked: Asked | None = None) -> None:
    """Run one verb, and exit with the code of its error."""
    with exit_codes(asked):
        asyncio.run(verb)


@contextmanager
def exit_codes(asked: Asked | None = None) -> Iterator[None]:
    """Exit with the code of an error that the block raises.

    asked: what the command asked for, for advice about the error.
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


def end_with(sentence: str, code: int) -> NoReturn:
    note(sentence, colour=typer.colors.RED)
    raise typer.Exit(code)
