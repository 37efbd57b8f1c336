"""`penstock restart`: the inference instances of a service are replaced, one after the other."""

from deploy.commands.operator_apis import Faces, local_path
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
    """Replace the inference instances one after the other; the queues go on meanwhile."""
    faces = Faces.find(url, admin_token, data_dir)
    faces.must_control(name).ask("POST", local_path(name, "/restart"))
    finish(faces, name, wait_s=timeout if wait else 0, as_json=as_json)
