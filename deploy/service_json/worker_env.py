"""The environment of a worker, wherever it runs: what follows from its service and its engine.

Local mode and compose files add how the worker proves who it is, and its name.
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
    """Return the settings of a worker that follow from what it runs.

    engine_options: JSON, for the engine.  What is "" or None is left out, so that a setting of the
    environment, or the worker's own default, holds.
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
