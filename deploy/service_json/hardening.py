"""What every container of Penstock has, in the shipped compose file and in rendered ones.

`docker-compose.yml` says the same by hand; a test compares the two.
"""

from typing import Any

#: Nothing is written but to /tmp and to volumes, nobody becomes root, and logs end somewhere.
HARDENED: dict[str, Any] = {
    "restart": "unless-stopped",
    "read_only": True,
    "tmpfs": ["/tmp"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}

#: Redis' image starts as root to give /data to its user, and becomes that user.
REDIS_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]

#: The most memory and processes of each container, so that one cannot take the whole machine.
LIMITS: dict[str, dict[str, Any]] = {
    "redis": {"memory": "${REDIS_MEMORY_LIMIT:-7g}", "pids": 128},
    "queue-service": {"memory": "${PENSTOCK_MEMORY_LIMIT:-2g}", "pids": 256},
    "inference-worker": {"memory": "${PENSTOCK_WORKER_MEMORY_LIMIT:-8g}", "pids": 2048},
}

#: Where the generated tokens are kept: the queue service's own, and the one for workers.
TOKENS, WORKER_TOKENS = "/tokens", "/worker-tokens"


def limited(service: str) -> dict[str, Any]:
    """Return the `deploy` of a service with its limits."""
    return {"resources": {"limits": dict(LIMITS[service])}}
