"""`penstock autoscale`: how many workers a service has, by load, with the options of eascmd."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from client_sdk.plain_text import one_line
from deploy.admin import service_path
from deploy.autoscaling.settings import read_autoscaler, read_options
from deploy.commands.autoscale_run import autoscale_run
from deploy.commands.operator_apis import OperatorApis
from deploy.commands.options import AdminToken, AsJson, Data, Url
from deploy.commands.printing import say, say_json, say_wrapped
from deploy.commands.scaler_options import (
    ScaledName,
    ScalerFile,
    SetByDefault,
    name_of,
    read_file,
)
from deploy.errors import BadAutoscaler, penstock
from deploy.local.data_dir import DEFAULT_PATH

autoscale = typer.Typer(
    cls=SetByDefault,
    help="Set how many workers a service has by load: `penstock autoscale NAME -Dmin=0 -Dmax=10`.",
    no_args_is_help=True,
)
autoscale.command("run")(autoscale_run)

Options = Annotated[
    list[str] | None,
    typer.Option(
        "-D",
        metavar="KEY=VALUE",
        help="`min`, `max`, `strategies.METRIC` (its threshold) or a key of `behavior`, such as "
        "`behavior.scaleDown.stabilizationWindowSeconds`; repeatable. METRIC: queue[avgbacklog], "
        "queue[backlog], queue[wait], qps or cpu.",
    ),
]


@autoscale.command("set")
def set_autoscaler(
    name: ScaledName,
    *,
    options: Options = None,
    settings: ScalerFile = None,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Set how many workers a service has by load; without options, show that.

    `-D` changes single settings, `-s` replaces all. You may leave out `set`.
    """
    name = name_of(name)
    apis = OperatorApis.find(url, admin_token, data_dir)
    if options and settings:
        raise BadAutoscaler("", "expected -D or -s, not both, got both")
    if options or settings:
        current = apis.admin.ask("GET", service_path(name, "/scale"))["autoscaler"]
        wanted = read_autoscaler(read_file(settings)) if settings else None
        wanted = wanted or read_options(options or (), current)
        apis.admin.ask("PUT", service_path(name, "/autoscaler"), wanted.to_json())
    found = apis.admin.ask("GET", service_path(name, "/scale"))
    if as_json:
        say_json(found)
    else:
        _show(name, found)


@autoscale.command("rm")
def remove_autoscaler(
    name: ScaledName,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Remove the autoscaler of a service; its workers stay as they are."""
    name = name_of(name)
    apis = OperatorApis.find(url, admin_token, data_dir)
    had = apis.admin.ask("GET", service_path(name, "/scale"))["autoscaler"]
    apis.admin.ask("DELETE", service_path(name, "/autoscaler"))
    say(one_line(f"{name}: {'the autoscaler was removed' if had else 'it had no autoscaler'}"))


def _show(name: str, found: dict[str, Any]) -> None:
    settings = found["autoscaler"]
    if settings is None:
        say(one_line(f"{name}: no autoscaler"))
        say_wrapped(f"Set one: {penstock()} autoscale {name} -Dmin=0 -Dmax=10", indent=2)
    else:
        say(one_line(f"{name}: {settings['min']} to {settings['max']} workers"))
        for line in _settings_of(settings, found):
            say_wrapped(line, indent=2)
    for line in _figures_of(found):
        say_wrapped(line, indent=2)
    say_wrapped(_decision_of(found), indent=2)
    if found["wanted"] is None and (settings or found["cronscaler"]):
        sentence = f"`{penstock()} up` decides within seconds; elsewhere, an autoscaler must run"
        say_wrapped(f"{sentence}: {penstock()} autoscale run --help", indent=2)
    if found["driver_error"]:
        say_wrapped(f"the autoscaler cannot change the workers: {found['driver_error']}", indent=2)


def _settings_of(settings: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    now = {
        "queue[avgbacklog]": found["backlog_per_worker"],
        "queue[backlog]": found["waiting"],
        "queue[wait]": found["wait_s"],
        "cpu": found["cpu"],
    }
    for strategy in settings["scaleStrategies"]:
        metric, value = strategy["metricName"], now.get(strategy["metricName"])
        known = "" if value is None else f", now {value:.4g}"
        yield f"{metric}: threshold {strategy['threshold']:g}{known}"
    behavior = settings["behavior"]
    up_s = behavior["scaleUp"]["stabilizationWindowSeconds"]
    down_s = behavior["scaleDown"]["stabilizationWindowSeconds"]
    yield f"more workers {f'after {up_s} s' if up_s else 'at once'}, fewer after {down_s} s"
    if not settings["min"]:
        zero = behavior["onZero"]
        first = zero["scaleUpActivationReplicas"]
        yield (
            f"none after {zero['scaleDownGracePeriodSeconds']} s without a job; the first job "
            f"starts {first}"
        )


def _figures_of(found: dict[str, Any]) -> Iterator[str]:
    workers = found["workers"]
    states = ", ".join(
        f"{workers[state]} {state}"
        for state in ("starting", "ready", "resting", "draining")
        if workers[state]
    )
    yield f"jobs: {found['waiting']} waiting, {found['running']} running"
    yield f"workers: {states or 'none'}"
    times = {
        "wait_s": "a new job waits {:.3g} s",
        "run_s": "a run takes {:.3g} s",
        "load_s": "a worker takes {:.3g} s to load",
        "oldest_s": "the oldest job is {:.3g} s old",
    }
    if known := [text.format(found[key]) for key, text in times.items() if found[key] is not None]:
        yield ", ".join(known)


def _decision_of(found: dict[str, Any]) -> str:
    if found["wanted"] is None:
        return str(found["reason"])
    return (
        f"wanted: {found['wanted']}, decided {found['decided_s_ago']:.0f} s ago: {found['reason']}"
    )
