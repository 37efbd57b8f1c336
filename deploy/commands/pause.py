"""`penstock pause`: accept jobs and deliver none of them."""

import time
from typing import Annotated, Any

import typer

from deploy.admin import service_path
from deploy.commands.operator_apis import LOOK_EVERY_S, OperatorApis
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, Name, Url
from deploy.commands.printing import say, say_json
from deploy.errors import NotReady
from deploy.local.data_dir import DEFAULT_PATH


def pause(
    name: Name,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Wait until no job runs.")] = False,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Keep accepting jobs but deliver none until `penstock resume`; running jobs continue."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    found = apis.admin.ask("POST", service_path(name, "/pause"))
    if drain:
        found = _until_idle(apis, name, timeout_s=timeout)
    if as_json:
        say_json(found)
    else:
        say(f"{name}: paused, {_running(found)} running, {found['input']['length']} in the queue")


def _until_idle(apis: OperatorApis, name: str, *, timeout_s: float) -> dict[str, Any]:
    """Wait until no worker holds a job; raises NotReady after the time-out."""
    deadline = time.monotonic() + timeout_s
    while True:
        found: dict[str, Any] = apis.admin.ask("GET", service_path(name))
        if not (running := _running(found)):
            return found
        if time.monotonic() >= deadline:
            raise NotReady(name, timeout_s, f"it is paused, {running} of its jobs still run")
        time.sleep(LOOK_EVERY_S)


def _running(service: dict[str, Any]) -> int:
    return sum(int(group["held"]) for group in service["input"]["groups"])
