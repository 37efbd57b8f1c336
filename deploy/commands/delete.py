"""`penstock delete`: delete a service with everything in its queues."""

from deploy.admin import service_path
from deploy.commands.operator_apis import OperatorApis, local_path
from deploy.commands.options import AdminToken, AsJson, Data, Name, Url, Yes, confirm
from deploy.commands.printing import say, say_json
from deploy.local.data_dir import DEFAULT_PATH


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
    apis = OperatorApis.find(url, admin_token, data_dir)
    found = apis.service(name)
    dead = {role: found[role]["dead_letters"]["now"] for role in ("input", "sink")}
    held = _held(found["input"]["length"], found["sink"]["length"], dead)
    confirm(f"delete {name} with {held}", yes=yes)
    if apis.control is not None and apis.is_local(name):
        said = apis.control.ask("DELETE", local_path(name))
    else:
        said = apis.admin.ask("DELETE", service_path(name))
    if as_json:
        say_json(said)
        return
    gone = said["deleted_entries"]
    held = _held(gone["input"], gone["sink"], said.get("deleted_dead_letters", {}))
    say(f"{name} is deleted, with {held}")


def _held(entries: int, results: int, dead: dict[str, int]) -> str:
    letters = sum(dead.values())
    text = f"{entries} entries and {results} results"
    return f"{entries} entries, {results} results and {letters} dead letters" if letters else text
