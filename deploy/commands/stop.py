"""`penstock stop`: stop the instances of a service and keep its entries."""

from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, Name, Url, Wait
from deploy.commands.service_changes import change
from deploy.local.data_dir import DEFAULT_PATH


def stop(
    name: Name,
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Stop all instances of a service; its entries are kept."""
    change(
        OperatorApis.find(url, admin_token, data_dir),
        name,
        "/stop",
        timeout if wait else 0,
        as_json,
    )
