"""`penstock create`: a service from a service.json."""

from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, File, Url, Wait
from deploy.commands.service_changes import put
from deploy.local.data_dir import DEFAULT_PATH


def create(
    file: File,
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Create a service from a service.json: its queues, and its inference instances."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    put(file, apis, data_dir, new=True, wait_s=timeout if wait else 0, as_json=as_json)
