"""The compose files themselves: they need the docker command to be read, but no engine."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from deploy.service_json.hardening import HARDENED, LIMITS, REDIS_CAPABILITIES, limited
from inference_worker.settings import Settings as WorkerSettings
from queue_service.settings.process import Settings
from queue_service.settings.service import ServiceSettings, capacity

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


def test_opening_the_port_to_others_changes_nothing_else() -> None:
    alone = read("docker-compose.yml")
    public = read("docker-compose.yml", "docker-compose.public.yml")
    assert (alone.returncode, public.returncode) == (0, 0), alone.stderr + public.stderr
    assert "host_ip: 0.0.0.0" in public.stdout
    assert "host_ip: 127.0.0.1" not in public.stdout
    assert public.stdout.replace("0.0.0.0", "127.0.0.1") == alone.stdout


def services(*files: str, **settings: str) -> dict[str, Any]:
    done = read(*files, **settings)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_no_token_is_in_the_files_and_the_queue_service_makes_them() -> None:
    for file in ROOT.glob("docker-compose*.yml"):
        assert not re.search(r"_TOKEN: *\$?\{?\w*:?-?[a-z]", file.read_text()), file
    found = services("docker-compose.yml")
    said = found["queue-service"]["environment"]
    (described,) = json.loads(said["PENSTOCK_SERVICES"])
    assert (described["token"], described["worker_token"]) == ("", "")
    settings = ServiceSettings.model_validate(described)
    assert capacity(settings, "input") == capacity(ServiceSettings(name="demo"), "input")
    assert (said["PENSTOCK_TOKEN_DIR"], said["PENSTOCK_WORKER_TOKEN_DIR"]) == (
        "/tokens",
        "/worker-tokens",
    )
    worker = found["inference-worker"]
    assert worker["environment"]["PENSTOCK_WORKER_TOKEN_FILE"] == "/worker-tokens/demo"
    mounted = {one["target"]: one for one in worker["volumes"]}
    assert set(mounted) == {"/handlers", "/worker-tokens", "/job-files"}
    assert mounted["/worker-tokens"]["read_only"] is True


def test_a_worker_starts_in_the_folder_of_the_handler() -> None:
    alone = services("docker-compose.yml")["inference-worker"]
    assert not alone.get("working_dir"), "the image's own, /app"
    found = services("docker-compose.yml", PENSTOCK_APP_DIR="./mine")["inference-worker"]
    assert found["working_dir"] == "/handlers"
    assert "PYTHONPATH" not in found["environment"]


def test_tokens_of_the_environment_win() -> None:
    found = services("docker-compose.yml", PENSTOCK_TOKEN="mine", PENSTOCK_WORKER_TOKEN="theirs")
    (described,) = json.loads(found["queue-service"]["environment"]["PENSTOCK_SERVICES"])
    assert (described["token"], described["worker_token"]) == ("mine", "theirs")
    said = found["inference-worker"]["environment"]
    assert said["PENSTOCK_WORKER_TOKEN"] == "theirs"
    assert "mine" not in said.values()


#: What the file itself decides: where things are inside of the containers.
INSIDE = {"PENSTOCK_HOST", "PENSTOCK_PORT", "PENSTOCK_SERVICES", "PENSTOCK_TOKEN_DIR"}
INSIDE |= {"PENSTOCK_FILES_DIR"}
INSIDE |= {"PENSTOCK_WORKER_TOKEN_DIR", "PENSTOCK_WORKER_TOKEN_FILE", "PENSTOCK_WORKER_SERVICE"}


@pytest.mark.parametrize(
    ("file", "service", "settings"),
    [
        ("docker-compose.yml", "queue-service", Settings),
        ("docker-compose.yml", "inference-worker", WorkerSettings),
        ("docker-compose.worker.yml", "inference-worker", WorkerSettings),
    ],
)
def test_every_setting_can_be_set_from_outside(
    file: str, service: str, settings: type[BaseSettings]
) -> None:
    prefix = str(settings.model_config.get("env_prefix"))
    names = {f"{prefix}{name.upper()}" for name in settings.model_fields} - INSIDE
    wanted = {name: f"of-{name.lower()}" for name in names}
    said = services(file, **wanted)[service]["environment"]
    passed = {name for name in names if wanted[name] in said.get(name, "")}
    assert passed == names


def test_every_limit_of_the_service_can_be_set_from_outside() -> None:
    wanted = {
        "PENSTOCK_SERVICE": "mine",
        "PENSTOCK_MEMORY_MB": "100",
        "PENSTOCK_SINK_MEMORY_RATIO": "0.25",
        "PENSTOCK_INPUT_MAX_LENGTH": "7",
        "PENSTOCK_INPUT_AUTO_EVICT": "true",
        "PENSTOCK_SINK_MAX_PAYLOAD_KB": "2048",
        "PENSTOCK_SERVICE_MAX_FILE_MB": "12",
        "PENSTOCK_MAX_DELIVERY": "9",
        "PENSTOCK_MAX_IDLE": "90s",
        "PENSTOCK_DEAD_MESSAGE_POLICY": "Park",
        "PENSTOCK_DEAD_LETTERS_MAX_LENGTH": "11",
        "PENSTOCK_FAIR": "false",
        "PENSTOCK_WINDOWS": "Sat,Sun 00:00-24:00",
        "PENSTOCK_RETRY": '{"max_attempts": 3}',
        "PENSTOCK_AUTOSCALER": '{"min": 0, "max": 4}',
        "PENSTOCK_CRONSCALER": '{"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": 2}]}',
    }
    found = services("docker-compose.yml", **wanted)
    (described,) = json.loads(found["queue-service"]["environment"]["PENSTOCK_SERVICES"])
    settings = ServiceSettings.model_validate(described)
    unset = {"token", "token_sha256", "worker_token", "worker_token_sha256"}
    defaults = ServiceSettings(name="demo")
    assert {
        name
        for name in ServiceSettings.model_fields
        if getattr(settings, name) == getattr(defaults, name)
    } == unset
    assert settings.input.max_length == 7
    assert settings.sink.max_payload_size_kb == 2048
    both = services("docker-compose.yml", PENSTOCK_MAX_PAYLOAD_KB="16")
    (described,) = json.loads(both["queue-service"]["environment"]["PENSTOCK_SERVICES"])
    assert [described[role]["max_payload_size_kb"] for role in ("input", "sink")] == [16, 16]


def test_every_container_has_what_hardens_it_and_limits() -> None:
    shipped = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert shipped.keys() == LIMITS.keys()
    for name, service in shipped.items():
        assert {key: service[key] for key in HARDENED} == HARDENED, name
        assert service["deploy"] == limited(name)
        assert "init" not in service, "the images reap for themselves"
    assert shipped["redis"]["cap_add"] == REDIS_CAPABILITIES


WORKER_FILE = "docker-compose.worker.yml"
QUEUE_URL = {"PENSTOCK_WORKER_QUEUE_URL": "https://queue:8080"}


def test_the_worker_of_another_machine_is_that_of_the_main_file() -> None:
    """It has no queue service to wait for, no port, and its token in a file of the operator's."""
    main, alone = (
        yaml.safe_load((ROOT / file).read_text())["services"]["inference-worker"]
        for file in ("docker-compose.yml", WORKER_FILE)
    )
    for of_the_main in ("networks", "depends_on", "<<"):
        main.pop(of_the_main, None)
    # The locks of the GPUs: the main file gets them from docker-compose.gpu.yml.
    alone["volumes"].remove("gpus:/gpus")
    main["volumes"][1], alone["volumes"][1] = "tokens", "tokens"
    for name in ("PENSTOCK_WORKER_QUEUE_URL", "PENSTOCK_WORKER_TOKEN_FILE"):
        assert main["environment"].pop(name) != alone["environment"].pop(name)
    assert alone == main


def test_a_worker_machine_needs_the_address_and_a_token_file() -> None:
    without = read(WORKER_FILE)
    assert without.returncode != 0
    assert "expected the address of the queue service" in without.stderr
    found = services(WORKER_FILE, **QUEUE_URL)
    assert found.keys() == {"inference-worker"}
    worker = found["inference-worker"]
    mounted = {one["target"]: one for one in worker["volumes"]}
    assert set(mounted) == {"/handlers", "/run/secrets", "/gpus", "/job-files"}
    assert mounted["/run/secrets"]["read_only"] is True
    assert Path(mounted["/run/secrets"]["source"]) == ROOT / "secrets"
    token_file = Path(worker["environment"]["PENSTOCK_WORKER_TOKEN_FILE"])
    assert token_file.parent == Path("/run/secrets")


def test_a_worker_machine_has_gpus_with_the_same_file() -> None:
    found = services(WORKER_FILE, "docker-compose.gpu.yml", **QUEUE_URL)
    devices = found["inference-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize("files", [(WORKER_FILE,), (WORKER_FILE, "docker-compose.gpu.yml")])
def test_the_workers_of_a_machine_share_the_locks_of_its_gpus(files: tuple[str, ...]) -> None:
    worker = services(*files, **QUEUE_URL, PENSTOCK_WORKER_GPUS="2")["inference-worker"]
    assert worker["environment"]["PENSTOCK_WORKER_GPUS"] == "2"
    folder = worker["environment"]["PENSTOCK_WORKER_GPU_DIR"]
    (locks,) = (one for one in worker["volumes"] if one["target"] == folder)
    # One volume in all containers, which they can write to.
    assert (locks["type"], locks["source"], locks.get("read_only")) == ("volume", "gpus", None)
    # `--scale` cannot start a second container with the same name or port.
    assert not {"container_name", "ports"} & worker.keys()


def test_the_settings_in_the_guide_of_several_machines_make_both_sides() -> None:
    page = (ROOT / "docs/several-machines.md").read_text()
    blocks = re.findall(r"^```text\n(COMPOSE_FILE=.*?)^```", page, re.DOTALL | re.MULTILINE)
    queue, gpus = (dict(line.split("=", 1) for line in text.splitlines()) for text in blocks)
    found = services(*queue.pop("COMPOSE_FILE").split(":"), **queue)["queue-service"]
    assert found["ports"][0]["host_ip"] == "0.0.0.0"
    assert "queue," in f"{found['environment']['PENSTOCK_ALLOWED_HOSTS']},"
    (tls,) = (one for one in found["volumes"] if one["target"] == "/tls")
    assert (Path(tls["source"]), tls["read_only"]) == (ROOT / "tls", True)
    for name in ("PENSTOCK_TLS_CERT_FILE", "PENSTOCK_TLS_KEY_FILE"):
        assert found["environment"][name].startswith("/tls/queue.")
    worker = services(*gpus.pop("COMPOSE_FILE").split(":"), **gpus)["inference-worker"]
    app_dir = gpus.pop("PENSTOCK_APP_DIR")
    assert worker["environment"].items() >= gpus.items()
    (handlers,) = (one for one in worker["volumes"] if one["target"] == "/handlers")
    assert Path(handlers["source"]) == ROOT / app_dir


def test_the_variables_of_the_files_are_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    used = {
        name
        for file in ROOT.glob("docker-compose*.yml")
        for name in re.findall(r"\$\{([A-Z_]+)", file.read_text())
    }
    assert {name for name in used if name not in example} == set()


def test_the_gpu_file_reserves_a_gpu_and_asks_for_transformers() -> None:
    done = read("docker-compose.yml", "docker-compose.gpu.yml")
    assert done.returncode == 0, done.stderr
    assert "driver: nvidia" in done.stdout
    assert "EXTRAS: worker,transformers" in done.stdout


SWARM_FILE = "docker-compose.swarm.yml"
NOT_IN_A_SWARM = {"build", "depends_on", "pull_policy", "restart", "security_opt", "tmpfs"}


def test_in_a_swarm_nothing_needs_one_address_for_all_tasks_and_one_port_is_open() -> None:
    found = services("docker-compose.yml", SWARM_FILE, PENSTOCK_PORT="81")
    alone = services("docker-compose.yml")
    assert found.keys() == alone.keys()
    assert {one["deploy"]["endpoint_mode"] for one in found.values()} == {"dnsrr"}
    ports = [port for one in found.values() for port in one.get("ports", ())]
    assert ports == [{"mode": "host", "target": 8080, "published": "81", "protocol": "tcp"}]
    # `docker stack` refuses these, or ignores them.
    for name, one in found.items():
        assert not one.keys() & NOT_IN_A_SWARM, name
        mounts = {(mount["type"], mount["target"]) for mount in one["volumes"]}
        assert mounts >= {(mount["type"], mount["target"]) for mount in alone[name]["volumes"]}
        assert ("tmpfs", "/tmp") in mounts
        assert one["deploy"]["resources"] == alone[name]["deploy"]["resources"]


def test_in_a_swarm_a_worker_that_leaves_stays_away_and_the_token_is_a_secret() -> None:
    found = services("docker-compose.yml", SWARM_FILE, PENSTOCK_SERVICE="mine")
    worker, queue = found["inference-worker"], found["queue-service"]
    assert worker["deploy"]["restart_policy"]["condition"] == "on-failure"
    assert worker["deploy"]["update_config"]["parallelism"] == 1
    for one in (worker, queue):
        (secret,) = one["secrets"]
        assert secret["target"] == worker["environment"]["PENSTOCK_WORKER_TOKEN_FILE"]
        assert (secret["uid"], int(secret["mode"])) == ("10001", 0o400)
    tokens = queue["environment"]["PENSTOCK_WORKER_TOKEN_DIR"]
    assert worker["environment"]["PENSTOCK_WORKER_TOKEN_FILE"] == f"{tokens}/mine"
    # A worker whose probe is late must not be stopped while it is busy.
    assert "/tmp/was-ready" in worker["healthcheck"]["test"][1]
