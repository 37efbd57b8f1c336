"""`penstock cronscale`: how many workers a service has, by time, with the file of eascmd."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import typer

from client_sdk.plain_text import one_line
from deploy.admin import service_path
from deploy.autoscaling.schedule import read_schedule, target_at
from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Url
from deploy.commands.printing import say, say_json, say_wrapped
from deploy.commands.scaler_options import (
    ScaledName,
    ScalerFile,
    SetByDefault,
    name_of,
    read_file,
)
from deploy.errors import penstock
from deploy.local.data_dir import DEFAULT_PATH

cronscale = typer.Typer(
    cls=SetByDefault,
    help="Set how many workers a service has by time: `penstock cronscale NAME -s FILE`.",
    no_args_is_help=True,
)


@cronscale.command("set")
def set_cronscaler(
    name: ScaledName,
    *,
    settings: ScalerFile = None,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Set how many workers a service has by time; without a file, show that.

    You may leave out `set`.
    """
    name = name_of(name)
    apis = OperatorApis.find(url, admin_token, data_dir)
    if settings:
        wanted = read_schedule(read_file(settings))
        apis.admin.ask("PUT", service_path(name, "/cronscaler"), wanted.to_json())
    found = apis.admin.ask("GET", service_path(name, "/scale"))["cronscaler"]
    if as_json:
        say_json(found)
    elif found is None:
        say(one_line(f"{name}: no schedule"))
        say_wrapped(f"Set one: {penstock()} cronscale {name} -s FILE", indent=2)
    else:
        say(one_line(f"{name}: {_now(found)}"))
        for line in _lines(found):
            say_wrapped(line, indent=2)


@cronscale.command("rm")
def remove_cronscaler(
    name: ScaledName,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Remove the schedule of a service; its workers stay as they are."""
    name = name_of(name)
    apis = OperatorApis.find(url, admin_token, data_dir)
    had = apis.admin.ask("GET", service_path(name, "/scale"))["cronscaler"]
    apis.admin.ask("DELETE", service_path(name, "/cronscaler"))
    say(one_line(f"{name}: {'the schedule was removed' if had else 'it had no schedule'}"))


def _now(schedule: dict[str, Any]) -> str:
    target = target_at(read_schedule(schedule), datetime.now(UTC))
    if target is None:
        return "no scheduled time has come yet"
    workers = f"{target.size} worker{'' if target.size == 1 else 's'}"
    return f"{workers} scheduled since {target.since:%Y-%m-%d %H:%M:%S} UTC"


def _lines(schedule: dict[str, Any]) -> Iterator[str]:
    for job in schedule["ScaleJobs"]:
        name = f" ({job['Name']})" if job["Name"] else ""
        yield f"{job['Schedule']}: {job['TargetSize']}{name}"
    if schedule["ExcludeDates"]:
        yield f"not on {', '.join(schedule['ExcludeDates'])}"
    yield f"times are in {schedule['TimeZone']}"
