"""The environment of a worker, in local mode and in compose files: its service and its engine.

The caller adds the worker's token and name.
"""


def worker_env(
    *,
    queue_url: str,
    service: str,
    engine: str,
    engine_options: str,
    window: int | None,
    run_timeout_s: float | None = None,
) -> dict[str, str]:
    """Return the environment variables that say what a worker runs.

    engine_options: JSON, for the engine.  Leaves out what is "" or None, so that a variable of the
    environment, or the worker's default, applies.
    """
    env = {
        "PENSTOCK_WORKER_QUEUE_URL": queue_url,
        "PENSTOCK_WORKER_SERVICE": service,
        "PENSTOCK_WORKER_ENGINE": engine,
    }
    if engine_options:
        env["PENSTOCK_WORKER_ENGINE_OPTIONS"] = engine_options
    if window is not None:
        env["PENSTOCK_WORKER_WORKER_THREADS"] = str(window)
    if run_timeout_s is not None:
        env["PENSTOCK_WORKER_RUN_TIMEOUT_S"] = str(run_timeout_s)
    return env
