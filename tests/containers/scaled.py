"""An autoscaler of real worker containers, and what the engine and the workers say afterwards."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.containers.compose import Compose
from tests.waiting import wait_until_blocking

#: Seconds that the events of the engine may take to arrive.
EVENTS_S = 30


class Signals:
    """Every signal that the engine sends to a container, from now on."""

    def __init__(self, compose: Compose, path: Path) -> None:
        self._compose = compose
        self._path = path
        self._marks = 0
        command = ["docker", "events", "--filter", "event=kill", "--format", "{{json .}}"]
        self._file: IO[bytes] = path.open("wb")
        self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT)

    def sent(self, *, mark: str) -> list[str]:
        """Return the names of the containers that got one.

        mark: a container that gets a SIGCONT, which does nothing, to see that all before arrived.
        """
        self._marks += 1

        def is_marked() -> bool:
            # A mark may be sent before the engine reports events: then the next one counts.
            self._compose.run(["docker", "kill", "--signal", "CONT", mark])
            return len([one for one in self._found() if one[0] == mark]) >= self._marks

        wait_until_blocking(is_marked, "the engine reports its signals", EVENTS_S)
        return [name for container, name in self._found() if container != mark]

    def _found(self) -> list[tuple[str, str]]:
        events = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [(one["Actor"]["ID"], one["Actor"]["Attributes"]["name"]) for one in events]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._file.close()


class Workers:
    """The worker containers of a project or a stack.

    filters: of `docker ps`.
    """

    def __init__(self, compose: Compose, *filters: str) -> None:
        self._compose = compose
        self._filters = [word for one in filters for word in ("--filter", one)]

    def running(self) -> list[str]:
        """Return the ids of those that run."""
        return self._compose.run(["docker", "ps", "-q", "--no-trunc", *self._filters]).split()

    def log(self) -> str:
        """Return what all of them have written, those that have ended included.

        Swarm removes the oldest of those that have ended, also between a listing and a look.
        """
        found = self._compose.run(["docker", "ps", "-aq", *self._filters]).split()
        logs = [
            subprocess.run(["docker", "logs", one], capture_output=True, text=True, check=False)
            for one in found
        ]
        failed = [one.stderr for one in logs if one.returncode]
        assert all(re.search("No such container|marked for removal", text) for text in failed), (
            failed
        )
        return "".join(one.stdout + one.stderr for one in logs if not one.returncode)


class Autoscaler:
    """Processes of `penstock autoscale run`, one after the other."""

    def __init__(self, folder: Path, url: str, admin_token: str, *options: str) -> None:
        self._folder = folder
        self._options = ["--url", url, "--admin-token", admin_token, *options]
        self._running: subprocess.Popen[bytes] | None = None
        self._log = folder / "autoscaler.log"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self, **settings: object) -> None:
        """Start one with these settings; the one before is killed, and its lease ends."""
        self.end()
        path = self._folder / "autoscaler.json"
        path.write_text(json.dumps(settings))
        options = [*self._options, "--settings", str(path), "--lease", "2", "--interval", "0.5"]
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "autoscale", "run", *options],
                env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        """Kill the one that runs."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None
