"""`penstock ls`: the services, a row each."""

from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Url
from deploy.commands.printing import say_json
from deploy.commands.service_table import show_services
from deploy.local.data_dir import DEFAULT_PATH


def ls(
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the services."""
    services = OperatorApis.find(url, admin_token, data_dir).services()
    if as_json:
        say_json(services)
    else:
        show_services(services)
