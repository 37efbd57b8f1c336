"""`penstock modify`: a service becomes what its service.json says now."""

from deploy.commands.operator_apis import Faces
from deploy.commands.options import AdminToken, AsJson, ChangeTimeout, Data, File, Url, Wait
from deploy.commands.service_changes import put
from deploy.local.data_dir import DEFAULT_PATH


def modify(
    file: File,
    *,
    wait: Wait = True,
    timeout: ChangeTimeout = 600.0,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Change a service to what its service.json says now; its entries stay.

    Instances are replaced one after the other when the file says something else about them.
    """
    faces = Faces.find(url, admin_token, data_dir)
    put(file, faces, data_dir, new=False, wait_s=timeout if wait else 0, as_json=as_json)
