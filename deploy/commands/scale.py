"""`penstock scale`: change the number of inference instances of a service."""

from typing import Annotated

import typer

from deploy.commands.operator_apis import OperatorApis, local_path
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, Name, Url, Wait
from deploy.commands.service_changes import finish
from deploy.local.data_dir import DEFAULT_PATH


def scale(
    name: Name,
    instances: Annotated[int, typer.Argument(min=0, max=1000, help="The new number.")],
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Change the number of inference instances; those that stop finish their jobs first."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    apis.must_control(name).ask("POST", local_path(name, "/scale"), {"instances": instances})
    finish(apis, name, wait_s=timeout if wait else 0, as_json=as_json)
