"""Security settings of every container, for rendered compose files.

`docker-compose.yml` repeats them; a test compares the two.
"""

from typing import Any

#: Only /tmp and volumes are writable, no process can become root, and logs have a limit.
HARDENED: dict[str, Any] = {
    "restart": "unless-stopped",
    "read_only": True,
    "tmpfs": ["/tmp"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}

#: The image of Redis starts as root, gives /data to its user, and then switches to that user.
REDIS_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]

#: Limits of each container, so that none can take the whole machine.
LIMITS: dict[str, dict[str, Any]] = {
    "redis": {"memory": "${REDIS_MEMORY_LIMIT:-7g}", "pids": 128},
    "queue-service": {"memory": "${PENSTOCK_MEMORY_LIMIT:-2g}", "pids": 256},
    "inference-worker": {"memory": "${PENSTOCK_WORKER_MEMORY_LIMIT:-8g}", "pids": 2048},
}

#: The folders of the generated tokens, of services and of workers, and of files.
TOKENS, WORKER_TOKENS, FILES = "/tokens", "/worker-tokens", "/files"
#: The volume for the files of running jobs: /tmp is in memory.
JOB_FILES = "/job-files"


def limited(service: str) -> dict[str, Any]:
    """Return the `deploy` of a service with its limits."""
    return {"resources": {"limits": dict(LIMITS[service])}}
