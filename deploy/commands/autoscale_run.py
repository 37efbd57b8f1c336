"""`penstock autoscale run`: the control loop of autoscaling, for workers anywhere."""

import asyncio
import json
import shlex
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cancellation import end_task
from client_sdk.stop_signals import stop_signals
from deploy.autoscaling.command_driver import TIMEOUT_S, CommandDriver
from deploy.autoscaling.driver import Driver
from deploy.autoscaling.loop import INTERVAL_S, LEASE_S, Loop, LoopOptions
from deploy.autoscaling.scale_api import ScaleApi
from deploy.autoscaling.settings import Autoscaler, read_autoscaler
from deploy.commands.options import AdminToken, Data, Url
from deploy.commands.printing import say
from deploy.errors import BadAutoscaler
from deploy.local.data_dir import DEFAULT_PATH, DataDir


class DriverName(StrEnum):
    """What starts workers."""

    COMMAND = "command"
    DOCKER = "docker"
    SWARM = "swarm"


DriverOption = Annotated[
    DriverName,
    typer.Option(
        help="`command` calls a program of yours, `docker` starts containers of a compose project, "
        "`swarm` starts copies of a service of a Docker Swarm stack. `penstock up` scales its own "
        "services without this command."
    ),
]
Program = Annotated[
    str,
    typer.Option(
        "--command",
        help="For `command`: the program with its arguments. It gets SERVICE FROM TO behind them.",
    ),
]
CommandTimeout = Annotated[
    float, typer.Option(min=1, help="For `command`: seconds that the program has.")
]
Project = Annotated[
    str,
    typer.Option(
        help="For `docker`: the compose project; for `swarm`: the stack.",
        envvar="COMPOSE_PROJECT_NAME",
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        "-s",
        help="Settings, as JSON, of services without an autoscaler of their own.",
        exists=True,
        dir_okay=False,
    ),
]
ComposeService = Annotated[
    str, typer.Option(help="For `docker` and `swarm`: the compose service of the workers.")
]


def autoscale_run(
    *,
    driver: DriverOption,
    command: Program = "",
    command_timeout: CommandTimeout = TIMEOUT_S,
    project: Project = "",
    compose_service: ComposeService = "inference-worker",
    service: Annotated[
        list[str] | None, typer.Option(help="Only this service; repeatable; default: all.")
    ] = None,
    settings: SettingsFile = None,
    interval: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds between two decisions.")
    ] = INTERVAL_S,
    lease: Annotated[
        float,
        typer.Option(
            min=1, max=3600, help="Seconds after which another loop takes over from a killed one."
        ),
    ] = LEASE_S,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Start workers, and have them leave, as the autoscalers of the services say, until Ctrl-C.

    Two of these at once are harmless: the one that has the lease of a service decides.
    """
    if not url:
        running = DataDir(data_dir).running()
        url, admin_token = running.url, admin_token or running.admin_token
    options = LoopOptions(
        services=service or (),
        settings=_settings(settings),
        interval_s=interval,
        lease_s=lease,
    )
    chosen = _driver(
        driver, command, command_timeout=command_timeout, project=project, worker=compose_service
    )
    asyncio.run(_run(url, admin_token, chosen, options))


def _settings(path: Path | None) -> Autoscaler | None:
    if path is None:
        return None
    try:
        return read_autoscaler(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, BadAutoscaler) as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def _driver(
    name: DriverName, command: str, *, command_timeout: float, project: str, worker: str
) -> Driver:
    if name is DriverName.COMMAND:
        argv = shlex.split(command)
        if not argv:
            raise typer.BadParameter("expected --command with the driver `command`, got none")
        return CommandDriver(argv, timeout_s=command_timeout)
    if not project:
        raise typer.BadParameter(f"expected --project with the driver `{name}`, got none")
    try:
        # Only these drivers need the library.
        from deploy.autoscaling.docker_driver import DockerDriver  # noqa: PLC0415
        from deploy.autoscaling.swarm_driver import SwarmDriver  # noqa: PLC0415
    except ImportError:
        raise typer.BadParameter(
            f"the driver `{name}` needs a library: pip install 'penstock[docker]'"
        ) from None
    if name is DriverName.SWARM:
        return SwarmDriver(project, worker=worker)
    return DockerDriver(project, worker=worker)


async def _run(url: str, admin_token: str, driver: Driver, options: LoopOptions) -> None:
    """Run the loop until a signal."""
    running_loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in stop_signals():
        running_loop.add_signal_handler(number, stopped.set)
    async with ScaleApi(url, admin_token) as api:
        scaling = asyncio.create_task(Loop(api, driver, options=options, say=_say).run())
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait({scaling, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await end_task(scaling)


def _say(sentence: str) -> None:
    say(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}  {sentence}")
