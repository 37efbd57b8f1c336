"""`penstock tokens create`, `ls` and `revoke`: tokens with limited rights."""

import time
from typing import Annotated
from urllib.parse import quote

import typer

from client_sdk.plain_text import one_line
from deploy.admin import AdminApi
from deploy.commands.options import AdminToken, AsJson, Data, Url, Yes, confirm
from deploy.commands.printing import note, say, say_json, say_wrapped
from deploy.commands.session import open_admin
from deploy.errors import DeployError
from deploy.local.data_dir import DEFAULT_PATH

tokens = typer.Typer(help="Tokens with limited rights.", no_args_is_help=True)


Windows = Annotated[
    str, typer.Option(help="When its jobs run: `22:00-06:00 Europe/Berlin`; default: always.")
]
Running = Annotated[
    int | None, typer.Option(help="Maximum number of running jobs, per service; default: any.")
]
Unread = Annotated[
    int | None, typer.Option(help="Maximum number of unread results, per service; default: any.")
]


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for operators.")] = "",
    *,
    scope: Annotated[
        list[str],
        typer.Option(help="submit, priority, read, cancel, work, all or admin; repeatable."),
    ],
    service: Annotated[
        list[str] | None, typer.Option(help="Only for this service; repeatable; default: all.")
    ] = None,
    owner: Annotated[
        str,
        typer.Option(help="The owner of its jobs; tokens of one owner see the same jobs."),
    ] = "",
    expires_in_s: Annotated[
        int | None, typer.Option(min=1, help="Seconds until it expires; default: never.")
    ] = None,
    rate_per_s: Annotated[
        float | None, typer.Option(help="Average number of puts per second; default: any.")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Puts that may come at once; default: those of one second.")
    ] = None,
    in_line: Annotated[
        int | None, typer.Option(help="Maximum number of waiting jobs, per service; default: any.")
    ] = None,
    running: Running = None,
    unread: Unread = None,
    windows: Windows = "",
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it; it cannot be shown again."""
    limits = {"rate_per_s": rate_per_s, "burst": burst, "in_line": in_line, "running": running}
    wish = {
        "name": name,
        "scopes": scope,
        "services": service or [],
        "owner": owner,
        "expires_in_s": expires_in_s,
        "limits": limits | {"unread": unread},
    } | ({"windows": windows} if windows else {})
    api = open_admin(url, admin_token, data_dir)
    made = api.ask("POST", "/v1/tokens", wish)
    try:
        if as_json:
            say_json(made)
        else:
            say(made["token"])
    except DeployError:
        # Nobody has seen the token, and it cannot be shown again.
        api.ask("DELETE", f"/v1/tokens/{quote(made['id'], safe='')}")
        note("the token could not be printed, so it was revoked", colour=typer.colors.RED)
        raise
    if not as_json:
        note(f"Its id, for `revoke`, is {made['id']}.")
        note("Store it now: it cannot be shown again.", colour=typer.colors.YELLOW)
    _warn_of_unknown(api, service or [])


@tokens.command()
def ls(
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the tokens, without their secrets."""
    found = open_admin(url, admin_token, data_dir).ask("GET", "/v1/tokens")["tokens"]
    if as_json:
        say_json(found)
        return
    for token in found:
        say(one_line(f"{token['id']}  {token['name']}"))
        limits = " ".join(f"{name}={limit:g}" for name, limit in token["limits"].items())
        known = {
            "scopes": " ".join(token["scopes"]),
            "services": " ".join(token["services"]) or "all",
            "limits": limits,
            "made": _date(token["created_at_ms"]),
            "ends": _end(token["expires_at_ms"]),
            "owner": "itself" if token["owner"] == token["id"] else token["owner"],
        }
        about = (f"{name} {value}" for name, value in known.items() if value)
        say_wrapped(", ".join(about), indent=4)


@tokens.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, from `ls`.")],
    *,
    yes: Yes = False,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Revoke a token and close its connections."""
    confirm(f"revoke the token {token_id} for good", yes=yes)
    open_admin(url, admin_token, data_dir).ask("DELETE", f"/v1/tokens/{quote(token_id, safe='')}")


def _end(at_ms: int | None) -> str:
    is_over = at_ms is not None and at_ms <= time.time() * 1000
    return f"{_date(at_ms)} (expired)" if is_over else _date(at_ms)


def _date(at_ms: int | None) -> str:
    if at_ms is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))


def _warn_of_unknown(api: AdminApi, names: list[str]) -> None:
    """Report services that do not exist: a typing mistake, or a service that you create later."""
    known = {one["name"] for one in api.ask("GET", "/v1/services")["services"]} if names else set()
    for name in names:
        if name not in known:
            note(f"note: there is no service {name} yet")
