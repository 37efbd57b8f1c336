"""`penstock restart`: replace the inference instances of a service."""

from deploy.commands.operator_apis import OperatorApis, local_path
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, Name, Url, Wait
from deploy.commands.service_changes import finish
from deploy.local.data_dir import DEFAULT_PATH


def restart(
    name: Name,
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Replace the inference instances one after the other; the queues stay in use."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    apis.must_control(name).ask("POST", local_path(name, "/restart"))
    finish(apis, name, wait_s=timeout if wait else 0, as_json=as_json)
