"""`penstock usage`: what each token has used.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 4 no queue service answered, or none
runs here.
"""

import csv
import io
from typing import Annotated

import typer

from deploy.commands.options import AdminToken, AsJson, Data, Url
from deploy.commands.printing import cells, new_table, note, say_json, show_parts, write_text
from deploy.commands.session import open_admin
from deploy.local.data_dir import DEFAULT_PATH

_JOBS = ("succeeded", "failed", "canceled", "expired")


def usage(
    *,
    start: Annotated[
        str, typer.Option("--from", help="The start, such as 2026-11-01; default: a day ago.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="The end; default: now.")] = "",
    by: Annotated[
        str, typer.Option(help="Group by service, token, owner, hour or day.")
    ] = "service,token",
    service: Annotated[str, typer.Option(help="Only usage of this service.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Show what each token has used: jobs, worker and GPU time, tokens, bytes and cost."""
    query = {"from": start, "to": end, "by": by, "service": service}
    api = open_admin(url, admin_token, data_dir)
    found = api.ask("GET", "/v1/usage", **{name: text for name, text in query.items() if text})
    if as_json:
        say_json(found)
        return
    if as_csv:
        written = io.StringIO()
        writer = csv.DictWriter(written, [*found["by"], *found["total"]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found["rows"])
        write_text(written.getvalue())
        return
    heads = ("jobs", "failed", "worker s", "GPU s", "wasted s", "tokens", "cost")
    table = new_table(*found["by"], *heads)
    for row in found["rows"]:
        table.add_row(*cells(*(row[name] or "-" for name in found["by"]), *_numbers(row)))
    if found["by"] and found["rows"]:
        blank = [""] * (len(found["by"]) - 1)
        table.add_row(*cells("total", *blank, *_numbers(found["total"])))
    show_parts(table)
    if not found["rows"]:
        note("nothing was used in this period; choose an earlier start with `--from`")


def _numbers(row: dict[str, float]) -> list[str]:
    return [
        f"{sum(row[state] for state in _JOBS):g}",
        f"{row['failed']:g}",
        f"{row['worker_ms'] / 1000:.1f}",
        f"{row['gpu_ms'] / 1000:.1f}",
        f"{row['wasted_worker_ms'] / 1000:.1f}",
        f"{row['prompt_tokens'] + row['completion_tokens']:g}",
        f"{row['cost']:g}",
    ]
