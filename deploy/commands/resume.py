"""`penstock resume`: deliver the jobs of a paused service again."""

from deploy.admin import service_path
from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Name, Url
from deploy.commands.printing import say, say_json
from deploy.local.data_dir import DEFAULT_PATH


def resume(
    name: Name,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Deliver the jobs of a paused service again."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    found = apis.admin.ask("POST", service_path(name, "/resume"))
    if as_json:
        say_json(found)
    else:
        say(f"{name}: {found['state']}, {found['input']['length']} in the queue")
