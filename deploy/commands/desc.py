"""`penstock desc`: describe one service."""

import json

from client_sdk.plain_text import one_line
from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Name, Url
from deploy.commands.printing import say, say_json, say_wrapped
from deploy.commands.service_table import in_units, show_instances, show_services
from deploy.local.data_dir import DEFAULT_PATH
from deploy.service_json.plan import SCALERS


def desc(
    name: Name,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Describe a service: its settings, its queues and its instances."""
    found = OperatorApis.find(url, admin_token, data_dir).service(name)
    if as_json:
        say_json(found)
        return
    show_services([found])
    for role in ("input", "sink"):
        queue = found[role]
        say(
            f"{role}: {queue['length']} of {queue['capacity']} entries, "
            f"each at most {queue['max_payload_bytes']} bytes"
        )
        # An older queue service does not say it.
        places = queue.get("places", queue["length"])
        if places > queue["length"]:
            say(f"{role}: large entries take {places} of {queue['capacity']} places")
        if "max_bytes" in queue:
            say(
                f"{role}: {in_units(queue['bytes'])} of {in_units(queue['max_bytes'])} in Redis, "
                f"{in_units(queue['file_bytes'])} in files"
            )
    if found.get("file_bytes"):
        say(f"files of entries: {found['file_bytes']} bytes")
    for key, value in sorted(found["settings"].items()):
        if not isinstance(value, dict):
            # As in a service.json: `true`, and `null` for what is not set.
            said = value if isinstance(value, str) else json.dumps(value)
            say(one_line(f"{key}: {said}"))
        elif key in SCALERS:
            say_wrapped(f"{key}: {json.dumps(value)}", indent=0)
    show_instances([found])
