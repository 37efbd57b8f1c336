"""The compose files themselves: they need the docker command to be read, but no engine."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command"),
]


def read(*files: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Let compose read the files with these variables and no others."""
    options = [option for file in files for option in ("-f", file)]
    command = ["docker", "compose", "--env-file", "/dev/null", *options, "config"]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home()), **settings}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        pytest.skip("docker has no compose v2")
    return done


def test_without_a_token_the_port_is_open_to_this_machine_only() -> None:
    done = read("docker-compose.yml")
    assert done.returncode == 0, done.stderr
    assert "host_ip: 127.0.0.1" in done.stdout
    assert "host_ip: 0.0.0.0" not in done.stdout


def test_the_port_is_not_opened_to_others_without_a_token() -> None:
    files = ("docker-compose.yml", "docker-compose.public.yml")
    done = read(*files)
    assert done.returncode != 0
    assert "PENSTOCK_TOKEN" in done.stderr

    done = read(*files, PENSTOCK_TOKEN="of-my-own")
    assert done.returncode == 0, done.stderr
    assert "host_ip: 0.0.0.0" in done.stdout
    assert "host_ip: 127.0.0.1" not in done.stdout
    assert "penstock-local" not in done.stdout


def test_the_gpu_file_reserves_a_gpu_and_asks_for_transformers() -> None:
    done = read("docker-compose.yml", "docker-compose.gpu.yml")
    assert done.returncode == 0, done.stderr
    assert "driver: nvidia" in done.stdout
    assert "EXTRAS: worker,transformers" in done.stdout
