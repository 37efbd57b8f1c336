"""Services and their instances, as rows for people."""

from typing import Any

from rich.table import Table

from deploy.printing import cells, show_parts

_MIB = 1024 * 1024


def show_services(services: list[dict[str, Any]]) -> None:
    """Print a row for each service."""
    table = Table(
        "service", "state", "from", "engine", "inference", "queue", "waiting", "held", "sink"
    )
    for one in services:
        local, instances = one["local"], inference_instances(one)
        wanted = local["instances_wanted"] if local else len(instances)
        # One whose window is 0 is connected and takes nothing: its engine is away, or it leaves.
        ready = sum(one["state"] == "Running" and one["window"] != 0 for one in instances)
        failed = sum(one["state"] == "failed" for one in (local or {}).get("instances", ()))
        engines = {str(instance["engine"]) for instance in instances}
        table.add_row(
            *cells(
                one["name"],
                # Its queues run all the same; but nobody computes, nor will.
                "failed" if failed and not ready and one["state"] == "running" else one["state"],
                one["origin"],
                (local and local["engine"]) or " ".join(sorted(engines)),
                f"{ready}/{wanted}, {failed} failed" if failed else f"{ready}/{wanted}",
                len(one["replicas"]),
                _waiting(one),
                sum(instance["held"] for instance in instances),
                one["sink"]["length"],
            )
        )
    show_parts(table)


def show_instances(services: list[dict[str, Any]]) -> None:
    """Print a row for each inference instance and each queue instance."""
    table = Table(
        "service", "kind", "instance", "state", "window", "held", "load", "version", "seen"
    )
    for one in services:
        for instance in inference_instances(one):
            table.add_row(
                *cells(one["name"], "inference", instance["name"], instance["state"]),
                *cells(*(instance[key] for key in ("window", "held", "load", "version", "seen"))),
            )
        for replica in one["replicas"]:
            about = replica["about"]
            seen = f"{replica['age_ms'] / 1000:.1f} s ago"
            version = str(about.get("version", ""))
            row = (one["name"], "queue", replica["id"], "Running", "", "", "", version, seen)
            table.add_row(*cells(*row))
    show_parts(table)


def inference_instances(service: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the workers of a service: the connected, those not yet, and those that failed."""
    now_ms, lease_ms = service["input"]["now_ms"], service.get("lease_ms", 0)
    found, known = [], set()
    for subscriber in service["input"]["subscribers"]:
        about = subscriber["about"]
        if about.get("kind") != "worker":
            continue
        known.add(subscriber["uid"].rpartition("-")[0].rpartition("-")[2])
        silent_ms = max(0, lease_ms - (subscriber["lease_ends_ms"] - now_ms))
        found.append(
            {
                "name": subscriber["uid"],
                "state": "Running" if subscriber["connected"] else "Leaving",
                "window": subscriber["window"],
                "held": subscriber["held"],
                "version": about.get("version", ""),
                "engine": about.get("engine", ""),
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
                    **dict.fromkeys(("version", "engine", "load", "seen"), ""),
                    **dict.fromkeys(("window", "held"), 0),
                }
            )
    return found


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
        text += f", GPU {load['gpu_memory_bytes'] // _MIB} MiB"
    return text
