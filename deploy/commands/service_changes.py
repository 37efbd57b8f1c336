"""Changes of services: what `create`, `modify`, `scale`, `stop`, `start` and `restart` share.

With a local mode they start and stop workers too.  With `--url` they change only the queues,
because the workers run elsewhere.
"""

from pathlib import Path
from typing import Any

import typer

from client_sdk.plain_text import one_line, without_login
from deploy.admin import service_path
from deploy.commands.operator_apis import OperatorApis, goes_on, local_path
from deploy.commands.printing import note, note_console, say, say_json
from deploy.commands.service_files import local_worker, read_and_tell
from deploy.errors import penstock
from deploy.exit_codes import FAILED
from deploy.local.data_dir import data_option
from deploy.local.gpus import has_gpus
from deploy.service_json.gpus import gpus_each


def put(
    file: Path, apis: OperatorApis, data_dir: Path, *, new: bool, wait_s: float, as_json: bool
) -> None:
    plan = read_and_tell(file)
    only = "*" if new else ""
    if apis.control is None:
        fields = {**plan.settings} | ({} if plan.token is None else {"token": plan.token})
        said = apis.admin.ask("PUT", service_path(plan.name), fields, if_none_match=only)
        note("the queues are created; now start the workers (see docs/several-machines.md)")
    else:
        worker, folder = local_worker(plan, file)
        gpus = gpus_each(plan.gpu)
        if gpus.count and not has_gpus():
            note("metadata.gpu: this machine has no NVIDIA GPU; the instances run without one")
        wish = {
            "settings": plan.settings,
            "token": plan.token or "",
            "instances": plan.instances,
            "worker": worker.model_dump(mode="json"),
            "folder": str(folder),
            "gpus": {"count": gpus.count, "shares": gpus.shares},
        }
        if not new:
            # Raises when there is none: `modify` does not create a service.
            apis.control.ask("GET", local_path(plan.name))
        said = apis.control.ask("PUT", local_path(plan.name), wish, if_none_match=only)
    token = said.get("token", plan.token or "")
    found = finish(apis, plan.name, wait_s=wait_s, as_json=as_json, token=token, made=new)
    if found and not as_json:
        say(f"{plan.name} accepts jobs at {apis.url}/v1/services/{plan.name}/jobs")
        if token:
            say(f"  token    {token}")
        where = data_option(data_dir) if apis.control else f" --url {without_login(apis.url)}"
        say(f"  PAI EAS  {apis.url}/api/predict/{plan.name}")
        say(f"Your first job: {penstock()} run {plan.name} hello{where}")
        if not apis.control:
            say("  with its token in PENSTOCK_TOKEN, or --token @FILE")


def change(apis: OperatorApis, name: str, verb: str, wait_s: float, as_json: bool) -> None:
    if apis.control is not None and apis.is_local(name):
        apis.control.ask("POST", local_path(name, verb))
    else:
        apis.admin.ask("POST", service_path(name, verb))
    finish(apis, name, wait_s=wait_s, as_json=as_json)


def finish(
    apis: OperatorApis,
    name: str,
    *,
    wait_s: float,
    as_json: bool,
    token: str = "",
    made: bool = False,
) -> dict[str, Any] | None:
    """Wait for the end of a change and report it; exit with an error when an instance failed."""
    local: dict[str, Any] | None = None
    try:
        if wait_s and apis.control is not None and apis.is_local(name):
            with note_console().status(name) as status:
                local = apis.until_done(
                    name,
                    timeout_s=wait_s,
                    tell=lambda sentence: status.update(one_line(f"{name}: {sentence}")),
                    made=made,
                )
    except KeyboardInterrupt:
        raise goes_on(name, made=made) from None
    failed = [one for one in (local or {}).get("instances", ()) if one["state"] == "failed"]
    if as_json:
        said = apis.service(name) | ({"token": token} if token else {})
        say_json(said)
    elif local and not failed:
        ready, wanted = len(local["instances"]), local["instances_wanted"]
        idle = "stopped, no instance runs" if local["stopped"] else "no instance, jobs will wait"
        say(f"{name}: {ready} of {wanted} instances ready" if wanted else f"{name}: {idle}")
    for one in failed:
        note(f"{one['name']} failed: {one['reason']}", colour=typer.colors.RED)
    if failed:
        note(
            f"{name} exists and accepts jobs. Fix the cause, then start its instances again with "
            f"`{penstock()} restart {name}` or `{penstock()} modify FILE`; "
            f"`{penstock()} delete {name}` removes it"
        )
        raise typer.Exit(FAILED)
    return local or {}
