"""`penstock start`: start a stopped service."""

from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, Name, Url, Wait
from deploy.commands.service_changes import change
from deploy.local.data_dir import DEFAULT_PATH


def start(
    name: Name,
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Start a stopped service."""
    change(
        OperatorApis.find(url, admin_token, data_dir),
        name,
        "/start",
        timeout if wait else 0,
        as_json,
    )
