"""What an operator's command calls: the admin API, and the control API of a local mode."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.admin import AdminApi, service_path
from deploy.errors import InstancesElsewhere, Interrupted, NotReady, penstock
from deploy.local.data_dir import DataDir

#: Seconds between two looks at a change that is under way.
LOOK_EVERY_S = 0.2
#: What is known of the instances of a service before the first look.
NOT_CHECKED = "its instances have not been checked yet"


@dataclass(frozen=True, slots=True)
class OperatorApis:
    """The admin API of a queue service; control is None without a local mode."""

    url: str
    admin: AdminApi
    control: AdminApi | None

    @classmethod
    def find(cls, url: str, admin_token: str, data_dir: Path) -> "OperatorApis":
        """Return the APIs at `url`, or of the local mode; raises NotRunning without either."""
        if url:
            return cls(url.rstrip("/"), AdminApi(url, admin_token), None)
        running = DataDir(data_dir).running()
        admin = AdminApi(running.url, admin_token or running.admin_token)
        control = AdminApi(running.control_url, running.control_token)
        return cls(running.url, admin, control)

    def services(self) -> list[dict[str, Any]]:
        """Return all services; `local` is what the local mode knows of one, or None."""
        local = {one["name"]: one for one in self._local()}
        answer = self.admin.ask("GET", "/v1/services")
        found = []
        for service in answer["services"]:
            replicas = [] if service["state"] == "stopped" else answer["replicas"]
            found.append({**service, "replicas": replicas, "local": local.get(service["name"])})
        return found

    def service(self, name: str) -> dict[str, Any]:
        """Return one service in the same form."""
        found: dict[str, Any] = self.admin.ask("GET", service_path(name))
        local = {one["name"]: one for one in self._local()}
        return {**found, "local": local.get(name)}

    def is_local(self, name: str) -> bool:
        """Say whether the local mode runs this service."""
        return any(one["name"] == name for one in self._local())

    def must_control(self, name: str) -> AdminApi:
        """Return the control API of the local mode; raises InstancesElsewhere without one."""
        if self.control is None:
            raise InstancesElsewhere(name)
        return self.control

    def until_done(
        self, name: str, *, timeout_s: float, tell: Callable[[str], None], made: bool = False
    ) -> dict[str, Any]:
        """Wait until a change of a service is complete.

        tell: receives sentences about the progress.  made: the service is new.
        Raises NotReady after the time-out and Interrupted after Ctrl-C; the change continues.
        """
        sentence = NOT_CHECKED

        def note(seen: str) -> None:
            nonlocal sentence
            sentence = seen
            tell(seen)

        try:
            return self._until_done(name, timeout_s, note)
        except KeyboardInterrupt:
            raise goes_on(name, made=made, sentence=sentence) from None

    def _until_done(
        self, name: str, timeout_s: float, tell: Callable[[str], None]
    ) -> dict[str, Any]:
        control = self.must_control(name)
        deadline = time.monotonic() + timeout_s
        while True:
            found: dict[str, Any] = control.ask("GET", local_path(name))
            states = [one["state"] for one in found["instances"]]
            settled = all(state in ("ready", "failed") for state in states)
            if not found["doing"] and settled and len(states) == found["instances_wanted"]:
                return found
            ready = states.count("ready")
            sentence = f"{ready} of {found['instances_wanted']} instances ready"
            tell(f"{sentence}, {found['doing']}" if found["doing"] else sentence)
            if time.monotonic() >= deadline:
                raise NotReady(name, timeout_s, sentence)
            time.sleep(LOOK_EVERY_S)

    def _local(self) -> list[dict[str, Any]]:
        if self.control is None:
            return []
        found: list[dict[str, Any]] = self.control.ask("GET", "/services")["services"]
        return found


def local_path(name: str, verb: str = "") -> str:
    """Return the path of a service in the control API."""
    return f"/services/{quote(name, safe='')}{verb}"


def goes_on(name: str, *, made: bool, sentence: str = NOT_CHECKED) -> Interrupted:
    """Return what to raise for Ctrl-C after a change of a service was sent.

    made: the service is new.  sentence: what is known of its instances.
    """
    what = f"{name} was created and accepts jobs" if made else f"the change of {name} was sent"
    undo = f"; `{penstock()} delete {name}` removes it" if made else ""
    return Interrupted(
        f"{what}; it continues in the background ({sentence}): "
        f"`{penstock()} desc {name}` shows the progress{undo}"
    )
