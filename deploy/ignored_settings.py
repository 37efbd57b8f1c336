"""Settings of the environment that local mode answers itself, and what to use instead."""

from collections.abc import Iterator, Mapping

_INSTEAD = {
    "PENSTOCK_SERVICES": "--service, --token and --max-payload-kb",
    "PENSTOCK_HOST": "`python -m queue_service` or containers, to be reached from elsewhere",
    "PENSTOCK_REDIS_URL": "`python -m queue_service` on a Redis of your own",
    "PENSTOCK_ADMIN_TOKEN": "the file admin-token in the data directory",
    "PENSTOCK_WORKER_QUEUE_URL": "`python -m inference_worker` for another queue service",
    "PENSTOCK_WORKER_SERVICE": "--service",
    "PENSTOCK_WORKER_TOKEN": "--token",
}


def ignored_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each setting that is there and does nothing."""
    for name, instead in _INSTEAD.items():
        if environ.get(name):
            yield f"{name} is ignored here; there is {instead}"
