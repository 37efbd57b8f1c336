"""`penstock dead ls`, `show`, `edit`, `replay` and `purge`: dead letters from the command line.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 3 there was nothing; 4 no queue service
answered, or none runs here.
"""

import base64
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from client_sdk.plain_text import harmless, one_line
from deploy.admin import service_path
from deploy.commands.entries import read_tags
from deploy.commands.options import AdminToken, AsJson, Data, Service, Url, Yes, confirm
from deploy.commands.printing import note, say, say_json, say_wrapped, show_parts, write_payload
from deploy.commands.session import open_admin
from deploy.exit_codes import NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

dead = typer.Typer(
    help="Dead letters: entries that are no longer delivered, kept for inspection.",
    no_args_is_help=True,
)

PARK = "Park"

#: Characters of an error that `ls` shows; `show` prints all of it.
_MOST_ERROR = 200

#: Letters in one request of `ls`.
PAGE = 1000


class Role(StrEnum):
    """The queue that the dead letters come from."""

    INPUT = "input"
    SINK = "sink"


Id = Annotated[int, typer.Argument(min=1, help="Its id, as `ls` shows it.")]
Ids = Annotated[list[int] | None, typer.Argument(min=1, help="Their ids, as `ls` shows them.")]
InQueue = Annotated[Role, typer.Option("--queue", help="Of the input queue or of the sink.")]
Code = Annotated[str, typer.Option(help="Only those whose last error has this code.")]
Reason = Annotated[str, typer.Option(help="Only these: `MaxDelivery`, `Failed` or `PoisonJob`.")]
RequestId = Annotated[str, typer.Option(help="Only this request's.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@dead.command()
def ls(
    service: Service,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the oldest first.")] = 100,
    code: Code = "",
    reason: Reason = "",
    request_id: RequestId = "",
    queue: InQueue = Role.INPUT,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List dead letters, without their data."""
    query = _filter(queue, code, reason, request_id)
    found: list[dict[str, Any]] = []
    api = open_admin(url, admin_token, data_dir)
    go_on: int | str | None = 0
    while go_on is not None and len(found) < limit:
        length = str(min(PAGE, limit - len(found)))
        page = api.ask("GET", _path(service), None, after=str(go_on), length=length, **query)
        found += page["dead_letters"]
        go_on = page["next"]
    if as_json:
        say_json(found)
        return
    for letter in found:
        # You may want to copy the ids, so no table cuts or wraps them.
        say(one_line(f"{letter['id']}  request {letter['request_id']}"))
        code = f" {letter['code']}" if letter["code"] else ""
        say_wrapped(
            f"{letter['reason']}{code}, {letter['attempts']} attempts, "
            f"{letter['size_bytes']} bytes, parked {_date(letter['parked_at_ms'])}",
            indent=4,
        )
        say_wrapped(letter["error"][:_MOST_ERROR], indent=4)
    if go_on is not None:
        note("There are more: see --limit.")
    if not found:
        policy = api.ask("GET", service_path(service))["settings"]["dead_message_policy"]
        if policy != PARK:
            note(
                f"{service} keeps only jobs that crash engines (dead_message_policy: {policy}). "
                f"Set it to {PARK} to keep every entry that failed for good."
            )


@dead.command()
def show(
    service: Service,
    letter_id: Id,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the data, unchanged.")] = False,
    queue: InQueue = Role.INPUT,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter with its data."""
    api = open_admin(url, admin_token, data_dir)
    letter = api.ask("GET", _path(service, letter_id), None, queue=queue.value)
    if as_json:
        say_json(letter)
        return
    encoded = letter.pop("data_base64", None)
    data = base64.b64decode(encoded) if encoded is not None else letter.pop("data").encode()
    if not raw:
        table = Table(show_header=False)
        for name, value in letter.items():
            text = _date(value) if name.endswith("_at_ms") else _text(value)
            table.add_row(name, text)
        show_parts(table)
    write_payload(data)


@dead.command()
def edit(
    service: Service,
    letter_id: Id,
    *,
    body: Annotated[str, typer.Option(help="The new data, as text.")] = "",
    file: Annotated[Path | None, typer.Option(help="Read the new data from this file.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Set key=value; repeatable.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="Remove this tag.")] = None,
    queue: InQueue = Role.INPUT,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Change the data or the tags of a dead letter, before it is replayed."""
    wish: dict[str, Any] = {}
    if body and file is not None:
        raise typer.BadParameter("give --body or --file, not both")
    if body:
        wish["data"] = body
    if file is not None:
        try:
            wish["data_base64"] = base64.b64encode(file.read_bytes()).decode("ascii")
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from error
    tags = {**read_tags(tag or []), **dict.fromkeys(untag or [])}
    if tags:
        wish["tags"] = tags
    if not wish:
        raise typer.BadParameter("give --body, --file, --tag or --untag")
    api = open_admin(url, admin_token, data_dir)
    api.ask("PATCH", _path(service, letter_id), wish, queue=queue.value)


@dead.command()
def replay(
    service: Service,
    letter_ids: Ids = None,
    *,
    everything: All = False,
    code: Code = "",
    reason: Reason = "",
    request_id: RequestId = "",
    webhook: Annotated[
        str, typer.Option(help="Send again what this webhook could not deliver, instead.")
    ] = "",
    queue: InQueue = Role.INPUT,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back at the tail of their queue, each under its request id."""
    if webhook:
        if letter_ids or code or reason or request_id:
            raise typer.BadParameter("give --webhook alone: it sends everything that failed")
        path = f"{service_path(service)}/webhooks/{quote(webhook, safe='')}/redeliver"
        again = open_admin(url, admin_token, data_dir).ask("POST", path)
        say_json(again) if as_json else note(f"{again['redelivered']} sent again.")
        if not again["redelivered"]:
            raise typer.Exit(NOTHING_THERE)
        return
    chosen = _choice(letter_ids, everything, _filter(queue, code, reason, request_id))
    api = open_admin(url, admin_token, data_dir)
    done = api.ask("POST", _path(service, "replay"), None, **chosen)
    if as_json:
        say_json(done)
    else:
        for one in done["replayed"]:
            say(f"{one['id']}\t{one['index']}\t{one_line(one['request_id'])}")
        for letter_id in done["absent"]:
            note(f"{letter_id}: there is no such dead letter")
        for letter_id in done["in_use"]:
            note(f"{letter_id}: its request id is already in use")
    if not done["replayed"]:
        raise typer.Exit(NOTHING_THERE)


@dead.command()
def purge(
    service: Service,
    letter_ids: Ids = None,
    *,
    everything: All = False,
    code: Code = "",
    reason: Reason = "",
    request_id: RequestId = "",
    yes: Yes = False,
    queue: InQueue = Role.INPUT,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Remove dead letters for good."""
    chosen = _choice(letter_ids, everything, _filter(queue, code, reason, request_id))
    confirm(f"remove these dead letters of {service} for good", yes=yes)
    api = open_admin(url, admin_token, data_dir)
    done = api.ask("DELETE", _path(service), None, **chosen)
    if as_json:
        say_json(done)
    else:
        say(done["purged"])
    if not done["purged"]:
        raise typer.Exit(NOTHING_THERE)


def _path(service: str, below: int | str = "") -> str:
    path = f"/v1/services/{quote(service, safe='')}/dead-letters"
    return f"{path}/{below}" if below else path


def _filter(queue: Role, code: str, reason: str, request_id: str) -> dict[str, str]:
    named = {"queue": queue.value, "code": code, "reason": reason, "requestId": request_id}
    return {name: value for name, value in named.items() if value}


def _choice(
    letter_ids: list[int] | None, everything: bool, filters: dict[str, str]
) -> dict[str, str]:
    ways = [bool(letter_ids), everything, len(filters) > 1]
    if sum(ways) != 1:
        raise typer.BadParameter("give ids, or --code, --reason, --request-id, or --all")
    if letter_ids:
        return {**filters, "ids": ",".join(map(str, letter_ids))}
    return {**filters, "all": "true"} if everything else filters


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(one_line(f"{name}={text}") for name, text in value.items())
    if isinstance(value, list):
        return "\n".join(one_line(str(one)) for one in value)
    return harmless(str(value))


def _date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
