"""`penstock create` and what follows it: services made, listed, changed, stopped and deleted.

Beside a local mode they make and end the workers too; at another queue service (`--url`) only the
queues, because there the workers are somebody else's.

Exit codes: 0 done; 1 refused, or an instance failed; 2 the file or the command line is wrong;
4 no queue service answered, or none runs here; 130 Ctrl-C, with a sentence about what goes on, or
without one when nothing was changed.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.plain_text import one_line, without_login
from deploy.admin import AdminToken, AsJson, Data, Url
from deploy.command_name import penstock
from deploy.confirmation import Yes, confirm
from deploy.data_dir import DEFAULT_PATH, data_option
from deploy.engine_check import NoEngine, check_engine
from deploy.errors import BadServiceFile, OnlyInContainers
from deploy.operator_faces import Faces, admin_path, local_path
from deploy.printing import note, note_console, say, say_json
from deploy.processor_entry import engine_of
from deploy.service_plan import OWN_CODE, ServicePlan, WorkerPlan, read_plan
from deploy.service_table import show_instances, show_services

FAILED = 1

File = Annotated[Path, typer.Argument(help="A service.json.", exists=True, dir_okay=False)]
Name = Annotated[str, typer.Argument(help="The service's name.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is done.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")]


def create(
    file: File,
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Make a service from a service.json: its queues, and its inference instances."""
    faces = Faces.find(url, admin_token, data_dir)
    _put(file, faces, data_dir, new=True, wait_s=timeout if wait else 0, as_json=as_json)


def modify(
    file: File,
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Change a service to what its service.json says now; its entries stay.

    Instances are replaced one after the other when the file says something else about them.
    """
    faces = Faces.find(url, admin_token, data_dir)
    _put(file, faces, data_dir, new=False, wait_s=timeout if wait else 0, as_json=as_json)


def ls(
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the services."""
    services = Faces.find(url, admin_token, data_dir).services()
    if as_json:
        say_json(services)
    else:
        show_services(services)


def desc(
    name: Name,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Describe a service: its settings, its queues, its instances."""
    found = Faces.find(url, admin_token, data_dir).service(name)
    if as_json:
        say_json(found)
        return
    show_services([found])
    for role in ("input", "sink"):
        queue = found[role]
        say(
            f"{role}: {queue['length']} of {queue['capacity']} entries, "
            f"each at most {queue['max_payload_bytes']} bytes"
        )
    for key, value in sorted(found["settings"].items()):
        if not isinstance(value, dict):
            # As a service.json says it: `true`, and `null` for what is not set.
            said = value if isinstance(value, str) else json.dumps(value)
            say(one_line(f"{key}: {said}"))
    show_instances([found])


def workers(
    name: Annotated[str, typer.Argument(help="Only of this service.")] = "",
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the instances: those that compute, and those that serve the queues."""
    faces = Faces.find(url, admin_token, data_dir)
    services = [faces.service(name)] if name else faces.services()
    if as_json:
        kept = ("name", "replicas", "local")
        say_json(
            [
                {key: one[key] for key in kept} | {"subscribers": one["input"]["subscribers"]}
                for one in services
            ]
        )
    else:
        show_instances(services)


def scale(
    name: Name,
    instances: Annotated[int, typer.Argument(min=0, max=1000, help="How many there shall be.")],
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Change the number of inference instances; those that go finish what they hold."""
    faces = Faces.find(url, admin_token, data_dir)
    faces.must_control(name).ask("POST", local_path(name, "/scale"), {"instances": instances})
    _finish(faces, name, wait_s=timeout if wait else 0, as_json=as_json)


def stop(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Stop a service: no instance of either part is left, and its entries are kept."""
    _change(Faces.find(url, admin_token, data_dir), name, "/stop", timeout if wait else 0, as_json)


def start(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Start a stopped service again."""
    _change(Faces.find(url, admin_token, data_dir), name, "/start", timeout if wait else 0, as_json)


def restart(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Replace the inference instances one after the other; the queues go on meanwhile."""
    faces = Faces.find(url, admin_token, data_dir)
    faces.must_control(name).ask("POST", local_path(name, "/restart"))
    _finish(faces, name, wait_s=timeout if wait else 0, as_json=as_json)


def delete(
    name: Name,
    *,
    yes: Yes = False,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Delete a service with everything in its queues."""
    faces = Faces.find(url, admin_token, data_dir)
    faces.check_not_own(name)
    found = faces.service(name)
    dead = {role: found[role]["dead_letters"]["now"] for role in ("input", "sink")}
    held = _held(found["input"]["length"], found["sink"]["length"], dead)
    confirm(f"delete {name} with {held}", yes=yes)
    if faces.control is not None and faces.is_local(name):
        said = faces.control.ask("DELETE", local_path(name))
    else:
        said = faces.admin.ask("DELETE", admin_path(name))
    if as_json:
        say_json(said)
        return
    gone = said["deleted_entries"]
    held = _held(gone["input"], gone["sink"], said.get("deleted_dead_letters", {}))
    say(f"{name} is deleted, and with it {held}")


def _held(entries: int, results: int, dead: dict[str, int]) -> str:
    letters = sum(dead.values())
    text = f"{entries} entries and {results} results"
    return f"{entries} entries, {results} results and {letters} dead letters" if letters else text


def register(app: typer.Typer) -> None:
    """Add the commands to the `penstock` command."""
    for command in (create, modify, ls, desc, workers, scale, stop, start, restart, delete):
        app.command()(command)


def _put(
    file: Path, faces: Faces, data_dir: Path, *, new: bool, wait_s: float, as_json: bool
) -> None:
    plan = read_and_tell(file)
    only = "*" if new else ""
    if faces.control is None:
        fields = {**plan.settings} | ({} if plan.token is None else {"token": plan.token})
        said = faces.admin.ask("PUT", admin_path(plan.name), fields, if_none_match=only)
        note("the queues are there; no instances are started from here")
    else:
        faces.check_not_own(plan.name)
        worker, folder = local_worker(plan, file)
        wish = {
            "settings": plan.settings,
            "token": plan.token or "",
            "instances": plan.instances,
            "worker": worker.model_dump(mode="json"),
            "folder": str(folder),
        }
        if not new:
            # Raises when there is none: `modify` makes no service.
            faces.control.ask("GET", local_path(plan.name))
        said = faces.control.ask("PUT", local_path(plan.name), wish, if_none_match=only)
    token = said.get("token", plan.token or "")
    found = _finish(faces, plan.name, wait_s=wait_s, as_json=as_json, token=token, made=new)
    if found and not as_json:
        say(f"{plan.name} takes jobs at {faces.url}/v1/services/{plan.name}/jobs")
        if token:
            say(f"  token    {token}")
        where = data_option(data_dir) if faces.control else f" --url {without_login(faces.url)}"
        say(f"  PAI EAS  {faces.url}/api/predict/{plan.name}")
        say(f"Your first job: {penstock()} run {plan.name} hello{where}")
        if not faces.control:
            say("  with its token in PENSTOCK_TOKEN, or --token @FILE")


def read_and_tell(file: Path, *, in_containers: bool = False) -> ServicePlan:
    """Read a service.json, and say on standard error what of it does nothing here.

    in_containers: for a compose file, where a container's image and limits do count.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadServiceFile(f"{file}: expected text in UTF-8: {error}") from None
    plan = read_plan(text)
    for sentence in plan.unknown:
        note(f"warning: {sentence}", colour=typer.colors.YELLOW)
    for sentence in plan.ignored:
        if in_containers and "`penstock render`" in sentence:
            continue
        note(f"ignored: {sentence}")
    return plan


def local_worker(plan: ServicePlan, file: Path) -> tuple[WorkerPlan, Path]:
    """Return what a worker of this machine runs, and the folder it runs in.

    Raises BadServiceFile, or OnlyInContainers.
    """
    worker, folder = plan.worker, file.resolve().parent
    if worker.entry:
        engine, folder = engine_of(worker.entry, folder=folder)
        worker = worker.model_copy(update={"engine": engine})
    if not worker.engine:
        image = plan.container.image if plan.container else ""
        raise OnlyInContainers(plan.name, image)
    kind, _, model = worker.engine.partition(":")
    if kind == "pmml" and "://" not in model:
        path = folder / model
        if not path.is_file():
            raise BadServiceFile(f"model_path: expected a file or a URL, got {path}")
        worker = worker.model_copy(update={"engine": f"pmml:{path}"})
    try:
        options = json.dumps(worker.engine_options)
        if kind not in OWN_CODE:
            check_engine(worker.engine, options=options, window=worker.window, folder=folder)
    except NoEngine as error:
        raise BadServiceFile(str(error)) from None
    return worker, folder


def _change(faces: Faces, name: str, verb: str, wait_s: float, as_json: bool) -> None:
    faces.check_not_own(name)
    if faces.control is not None and faces.is_local(name):
        faces.control.ask("POST", local_path(name, verb))
    else:
        faces.admin.ask("POST", admin_path(name, verb))
    _finish(faces, name, wait_s=wait_s, as_json=as_json)


def _finish(
    faces: Faces,
    name: str,
    *,
    wait_s: float,
    as_json: bool,
    token: str = "",
    made: bool = False,
) -> dict[str, Any] | None:
    """Wait for the end of a change and tell it; end the program when an instance has failed."""
    local: dict[str, Any] | None = None
    if wait_s and faces.control is not None and faces.is_local(name):
        with note_console().status(name) as status:
            local = faces.until_done(
                name,
                timeout_s=wait_s,
                tell=lambda sentence: status.update(one_line(f"{name}: {sentence}")),
                made=made,
            )
    failed = [one for one in (local or {}).get("instances", ()) if one["state"] == "failed"]
    if as_json:
        said = faces.service(name) | ({"token": token} if token else {})
        say_json(said)
    elif local and not failed:
        ready, wanted = len(local["instances"]), local["instances_wanted"]
        idle = "stopped, no instance runs" if local["stopped"] else "no instance, it takes jobs"
        say(f"{name}: {ready} of {wanted} instances ready" if wanted else f"{name}: {idle}")
    for one in failed:
        note(f"{one['name']} failed: {one['reason']}", colour=typer.colors.RED)
    if failed:
        note(
            f"{name} is there all the same, and takes jobs: after the fix `{penstock()} restart "
            f"{name}`, or `{penstock()} modify FILE`, starts its instances anew; "
            f"`{penstock()} delete {name}` removes it"
        )
        raise typer.Exit(FAILED)
    return local or {}
