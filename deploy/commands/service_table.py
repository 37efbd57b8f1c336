"""Print services and their instances."""

import re
import textwrap
from typing import Any

from client_sdk.plain_text import one_line
from client_sdk.wire.load import GpuState
from deploy.commands.printing import cells, columns, new_table, say, say_wrapped, show_parts

_MIB = 1024 * 1024


#: Columns that a row needs in the worst case, without the name of its service, and how many of
#: them some cells have.
_BESIDE_THE_NAME = 56
_STATE, _WORKERS, _WAITING, _SINK = 7, 9, 7, 6
#: The longest reason of an autoscaler in a row; `penstock autoscale NAME` shows all of it.
_MOST_REASON = 40
_JOBS = re.compile(r"(\d+) jobs? (waiting|running)\b")
_CLAUSE = re.compile(r" \(|[;:,] ")


def show_services(services: list[dict[str, Any]]) -> None:
    """Print a row for each service, or lines if a table would wrap its name."""
    heads = ("service", "state", "workers", "waiting", "held", "sink", "engine")
    rows = [_row(one) for one in services]
    longest = max(map(_width, rows), default=0)
    if longest + _BESIDE_THE_NAME > columns():
        for (name, state, *more), one in zip(rows, services, strict=True):
            say(one_line(name))
            pairs = zip(heads[2:], more, strict=True)
            about = (f"{head} {value}" for head, value in pairs if value)
            say_wrapped(", ".join((state, *about)), indent=4)
            for why in _troubles(one):
                say_wrapped(why, indent=4)
        return
    table = new_table(*heads)
    for row in rows:
        table.add_row(*cells(*row))
    show_parts(table)
    for one in services:
        for why in _troubles(one):
            say_wrapped(f"{one['name']}: {why}", indent=0)


def _width(row: tuple[str, ...]) -> int:
    wide = ((row[1], _STATE), (row[2], _WORKERS), (row[3], _WAITING), (row[5], _SINK))
    return len(row[0]) + sum(max(0, len(cell) - most) for cell, most in wide)


def _troubles(service: dict[str, Any]) -> list[str]:
    """Return sentences about what needs a person."""
    # A queue service of an older version has no figures of autoscaling, and does not know why.
    error = service.get("scale", {}).get("driver_error")
    full = service["sink"].get("full_because")
    return [
        *([f"the autoscaler cannot change the workers: {error}"] if error else []),
        *([str(full)] if full else []),
    ]


def _row(service: dict[str, Any]) -> tuple[str, ...]:
    local, instances = service["local"], inference_instances(service)
    wanted = local["instances_wanted"] if local else len(instances)
    ready = sum(instance["state"].startswith("Running") for instance in instances)
    failed = sum(one["state"] == "failed" for one in (local or {}).get("instances", ()))
    engines = {str(instance["engine"]) for instance in instances}
    # Its queues accept jobs, but no worker runs, and none will.
    is_dead = failed and not ready and service["state"] == "running"
    return (
        str(service["name"]),
        "failed" if is_dead else _state(service),
        _workers(ready, wanted, failed, service.get("scale", {})),
        _with_bytes(_waiting(service), service["input"]),
        str(sum(instance["held"] for instance in instances)),
        _with_bytes(service["sink"]["length"], service["sink"]),
        (local and local["engine"]) or " ".join(sorted(engines)),
    )


def _with_bytes(count: int, queue: dict[str, Any]) -> str:
    """Return a number of entries, and the bytes of all entries of the queue, if it has any."""
    size = held_bytes(queue)
    return f"{count}, {in_units(size)}" if size and queue["length"] else str(count)


def held_bytes(queue: dict[str, Any]) -> int:
    """Return what the entries of a queue have in Redis and in files."""
    # A queue service of an older version does not say it.
    return int(queue.get("bytes", 0)) + int(queue.get("file_bytes", 0))


def in_units(size: int) -> str:
    """Return a number of bytes in few characters, such as `3.1 MB`."""
    number, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"


def _workers(ready: int, wanted: int, failed: int, scale: dict[str, Any]) -> str:
    """Return how many workers are ready, and why the autoscaler wants another number."""
    decided = scale.get("wanted")
    text = f"{ready}/{wanted if decided is None else decided}"
    if failed:
        text += f", {failed} failed"
    if decided is not None and decided != ready:
        text += f" (wanted {decided}: {_short(scale['reason'])})"
    return text


def _short(reason: str) -> str:
    """Return the beginning of a reason: `37 waiting` for jobs."""
    if jobs := _JOBS.match(reason):
        return f"{jobs[1]} {jobs[2]}"
    return textwrap.shorten(_CLAUSE.split(reason)[0], _MOST_REASON, placeholder="...")


def _state(service: dict[str, Any]) -> str:
    state = str(service["state"])
    # A queue service of an older version cannot pause.
    if state == "running" and service.get("paused_at_ms"):
        return "paused"
    if state == "running" and service["sink"].get("full"):
        return "sink full"
    window = service.get("window")
    return "closed" if state == "running" and window and not window["open"] else state


def show_instances(services: list[dict[str, Any]]) -> None:
    """Print each inference and each queue instance: its name on its own line, then details."""
    for one in services:
        say(one_line(f"{one['name']}:"))
        for instance in inference_instances(one):
            say(one_line(f"  {instance['name']}"))
            say_wrapped(instance["state"], indent=4)
            say_wrapped(_about(instance), indent=4)
        for replica in one["replicas"]:
            version = replica["about"].get("version", "")
            say(one_line(f"  {replica['id']}"))
            seen = f"{replica['age_ms'] / 1000:.1f} s ago"
            say_wrapped(f"queue service, version {version}, seen {seen}", indent=4)


def _about(instance: dict[str, Any]) -> str:
    """Describe an inference instance."""
    known = {
        "host": instance["host"],
        "GPU": instance["gpu"],
        "engine": instance["engine"],
        "holds": f"{instance['held']} of {instance['window']}" if instance["window"] else "",
        "load": instance["load"],
        "version": instance["version"],
        "seen": instance["seen"],
    }
    return ", ".join(f"{name} {value}" for name, value in known.items() if value)


def inference_instances(service: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the workers of a service: connected, starting and failed ones."""
    now_ms, lease_ms = service["input"]["now_ms"], service.get("lease_ms", 0)
    found, known = [], set()
    for subscriber in service["input"]["subscribers"]:
        about = subscriber["about"]
        if about.get("kind") != "worker":
            continue
        # A worker of an older version reports its host and its pid only in its uid.
        host, _, pid = subscriber["uid"].rpartition("-")[0].rpartition("-")
        known.add(str(about.get("pid") or pid))
        silent_ms = max(0, lease_ms - (subscriber["lease_ends_ms"] - now_ms))
        found.append(
            {
                "name": subscriber["uid"],
                "state": _instance_state(subscriber),
                "window": subscriber["window"],
                "held": subscriber["held"],
                "version": about.get("version", ""),
                "engine": about.get("engine", ""),
                "host": about.get("host") or host,
                "gpu": about.get("gpu", ""),
                "load": _load(about.get("load")),
                "seen": f"{silent_ms / 1000:.1f} s ago",
            }
        )
    for instance in (service["local"] or {}).get("instances", ()):
        if str(instance["pid"]) not in known:
            state = instance["state"].capitalize()
            found.append(
                {
                    "name": instance["name"],
                    "state": f"{state}: {instance['reason']}" if instance["reason"] else state,
                    **dict.fromkeys(("version", "engine", "load", "seen", "host", "gpu"), ""),
                    **dict.fromkeys(("window", "held"), 0),
                }
            )
    return found


def _instance_state(subscriber: dict[str, Any]) -> str:
    """Return the state of a connected or leaving worker, and why it does not work."""
    if not subscriber["connected"]:
        return "Leaving"
    load = subscriber["about"].get("load") or {}
    state = {
        GpuState.WAITING.value: "Waiting",
        GpuState.SUSPECT.value: "Running, GPU suspect",
        GpuState.QUARANTINED.value: "Quarantined",
    }.get(str(load.get("gpu_state", "")), "Running")
    return f"{state}: {load['gpu_reason']}" if load.get("gpu_reason") else state


def _waiting(service: dict[str, Any]) -> int:
    groups = {group["gid"]: group["waiting"] for group in service["input"]["groups"]}
    return int(groups.get(service["name"], service["input"]["length"]))


def _load(load: dict[str, Any] | None) -> str:
    if not load:
        return ""
    text = f"{load['running']} of {load['limit']}" if load.get("limit") else f"{load['running']}"
    if load.get("memory_bytes"):
        text += f", {load['memory_bytes'] // _MIB} MiB"
    if load.get("gpu_memory_total_bytes"):
        used, total = load["gpu_memory_bytes"] // _MIB, load["gpu_memory_total_bytes"] // _MIB
        text += f", GPU memory {used} of {total} MiB, {load['gpu_utilization']:.0%} busy"
    return text
