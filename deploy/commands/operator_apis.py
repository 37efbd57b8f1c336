"""Whom an operator's command speaks to: a queue service, and the local mode around it if any."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.admin import AdminFace, service_path
from deploy.errors import InstancesElsewhere, Interrupted, NotReady, OwnService, penstock
from deploy.local.data_dir import DataDir

#: Seconds between two looks at a change that is under way.
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Faces:
    """The admin face of a queue service; control is None where no local mode is around it.

    own: the service that the local mode serves by its own options; empty without one.
    """

    url: str
    admin: AdminFace
    control: AdminFace | None
    own: str = ""

    @classmethod
    def find(cls, url: str, admin_token: str, data_dir: Path) -> "Faces":
        """The faces at `url`, or those of the local mode; raises NotRunning without either."""
        if url:
            return cls(url.rstrip("/"), AdminFace(url, admin_token), None)
        running = DataDir(data_dir).running()
        admin = AdminFace(running.url, admin_token or running.admin_token)
        control = AdminFace(running.control_url, running.control_token)
        return cls(running.url, admin, control, own=running.service)

    def services(self) -> list[dict[str, Any]]:
        """All services, each with `local`, which is what the local mode knows of it, or None."""
        local = {one["name"]: one for one in self._local()}
        answer = self.admin.ask("GET", "/v1/services")
        found = []
        for service in answer["services"]:
            replicas = [] if service["state"] == "stopped" else answer["replicas"]
            found.append({**service, "replicas": replicas, "local": local.get(service["name"])})
        return found

    def service(self, name: str) -> dict[str, Any]:
        """One service, in the same form."""
        found: dict[str, Any] = self.admin.ask("GET", service_path(name))
        local = {one["name"]: one for one in self._local()}
        return {**found, "local": local.get(name)}

    def is_local(self, name: str) -> bool:
        """Say whether the local mode runs this service."""
        return any(one["name"] == name for one in self._local())

    def must_control(self, name: str) -> AdminFace:
        """The control of the local mode; raises InstancesElsewhere when there is none.

        Raises OwnService for what is not changed while the local mode runs.
        """
        self.check_not_own(name)
        if self.control is None:
            raise InstancesElsewhere(name)
        return self.control

    def check_not_own(self, name: str) -> None:
        """Raise OwnService for the service that the local mode serves by its own options."""
        if self.own and name == self.own:
            raise OwnService(name)

    def until_done(
        self, name: str, *, timeout_s: float, tell: Callable[[str], None], made: bool = False
    ) -> dict[str, Any]:
        """Wait until a change of a service is complete.

        tell: gets a sentence about how far it is.  made: the service is new.
        Raises NotReady at the timeout and Interrupted at Ctrl-C; it goes on all the same.
        """
        sentence = "its instances were not looked at yet"

        def note(seen: str) -> None:
            nonlocal sentence
            sentence = seen
            tell(seen)

        try:
            return self._until_done(name, timeout_s, note)
        except KeyboardInterrupt:
            done = "is made and takes jobs" if made else "is told"
            undo = f", `{penstock()} delete {name}` removes it" if made else ""
            raise Interrupted(
                f"{name} {done}, and goes on without you ({sentence}): "
                f"`{penstock()} desc {name}` tells how far it is{undo}"
            ) from None

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
    """The path of a service at the local mode's control."""
    return f"/services/{quote(name, safe='')}{verb}"
