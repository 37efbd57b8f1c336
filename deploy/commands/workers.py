"""`penstock workers`: list the inference instances and the queue instances."""

from typing import Annotated

import typer

from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Url
from deploy.commands.printing import say_json
from deploy.commands.service_table import show_instances
from deploy.local.data_dir import DEFAULT_PATH


def workers(
    name: Annotated[str, typer.Argument(help="Only of this service.")] = "",
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """List the inference instances and the queue instances."""
    apis = OperatorApis.find(url, admin_token, data_dir)
    services = [apis.service(name)] if name else apis.services()
    if as_json:
        kept = ("name", "replicas", "local")
        say_json(
            [
                {key: one[key] for key in kept} | {"subscribers": one["input"]["subscribers"]}
                for one in services
            ]
        )
    else:
        show_instances(services)
