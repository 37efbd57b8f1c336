"""`penstock webhooks put`, `ls`, `rotate`, `rm`, `deliveries` and `redeliver`.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 3 nothing found; 4 no queue service
answered, or none runs here.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from client_sdk.plain_text import one_line
from deploy.admin import service_path
from deploy.commands.options import AdminToken, AsJson, Data, Service, Url, Yes, confirm
from deploy.commands.printing import note, say, say_json, say_wrapped
from deploy.commands.session import open_admin
from deploy.exit_codes import NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

webhooks = typer.Typer(help="Notify your server when a job ends.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="The endpoint's name; `jobs` is for the webhooks of single jobs.")
]


@webhooks.command("put")
def put(
    service: Service,
    name: Name,
    endpoint: Annotated[str, typer.Argument(help="Its URL; none for `jobs`.")] = "",
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(help="job.succeeded, job.failed, job.canceled or job.expired; repeatable."),
    ] = None,
    disable: Annotated[bool, typer.Option("--disable", help="Send nothing for now.")] = False,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Set up an endpoint, or change it; print the secret of a new one."""
    wish: dict[str, Any] = {"url": endpoint, "enabled": not disable}
    if event:
        wish["events"] = event
    made = open_admin(url, admin_token, data_dir).ask("PUT", _path(service, name), wish)
    _say_secret(made, as_json=as_json)


@webhooks.command()
def ls(
    service: Service,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the endpoints of a service, without their secrets."""
    found = open_admin(url, admin_token, data_dir).ask("GET", _path(service))["webhooks"]
    if as_json:
        say_json(found)
        return
    for one in found:
        say(one_line(f"{one['name']}  {one.get('url', 'webhooks of single jobs')}"))
        state = "enabled" if one["enabled"] else f"disabled: {one['disabled_reason']}"
        say_wrapped(f"{', '.join(one['events'])}; {state}", indent=4)


@webhooks.command()
def rotate(
    service: Service,
    name: Name,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Make a new secret and print it; for a day the old one also signs."""
    made = open_admin(url, admin_token, data_dir).ask("POST", _path(service, name, "rotate"))
    _say_secret(made, as_json=as_json)


@webhooks.command()
def rm(
    service: Service,
    name: Name,
    *,
    yes: Yes = False,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Delete an endpoint, with its waiting messages."""
    confirm(f"delete the webhook {name} of {service}, with its waiting messages", yes=yes)
    open_admin(url, admin_token, data_dir).ask("DELETE", _path(service, name))


@webhooks.command()
def deliveries(
    service: Service,
    name: Name,
    *,
    state: Annotated[str, typer.Option(help="Only pending, failed or delivered ones.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List messages to an endpoint: waiting, failed and delivered."""
    query = {"limit": str(limit)} | ({"state": state} if state else {})
    api = open_admin(url, admin_token, data_dir)
    page = api.ask("GET", _path(service, name, "deliveries"), None, **query)
    if as_json:
        say_json(page["deliveries"])
        return
    for one in page["deliveries"]:
        say(one_line(f"{one['id']}  {one['event']} of {one['job']}"))
        known = [one["state"], f"{one['attempts']} attempts", one.get("error", "")]
        if "next_attempt_at" in one:
            known.append(f"next {one['next_attempt_at']}")
        say_wrapped(", ".join(part for part in known if part), indent=4)
    if page["next"] is not None:
        note("There are more: see --limit.")


@webhooks.command()
def redeliver(
    service: Service,
    name: Name,
    delivery: Annotated[str, typer.Argument(help="Its id; by default all that failed.")] = "",
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Send a delivery again, or all that failed for good."""
    api = open_admin(url, admin_token, data_dir)
    if delivery:
        api.ask("POST", _path(service, name, "deliveries", delivery, "redeliver"))
        return
    count = api.ask("POST", _path(service, name, "redeliver"))["redelivered"]
    note(f"{count} sent again.")
    if not count:
        raise typer.Exit(NOTHING_THERE)


def _path(service: str, *parts: str) -> str:
    return "/".join([service_path(service), "webhooks", *(quote(part, safe="") for part in parts)])


def _say_secret(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(made)
    elif "secret" in made:
        say(made["secret"])
        note("Store it now: it cannot be shown again.", colour=typer.colors.YELLOW)
