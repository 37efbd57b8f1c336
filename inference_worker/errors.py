"""The exceptions of a worker.

WorkerError
    BadEngine          the engine's name or its options are invalid
    EngineFailed       the engine did not load
    BadTokenFile       the file of the token cannot be read
    NoGpus             the wanted GPUs do not exist here
    BadFilesFolder     the folder for the files of jobs cannot be used
    BadGpuFolder       the folder of the GPUs' locks cannot be used

The failure of a job is not an exception of the worker, but a `Failed` event of the engine.
"""


class WorkerError(Exception):
    """Ends the worker with a message instead of a traceback."""

    code = "WORKER_ERROR"


class BadEngine(WorkerError):
    """The engine cannot be created from the settings."""

    code = "BAD_ENGINE"

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")
        self.expected = expected
        self.came = came


class BadTokenFile(WorkerError):
    """The token file cannot be read or is empty."""

    code = "BAD_TOKEN_FILE"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"PENSTOCK_WORKER_TOKEN_FILE: expected a token in {path!r}, got: {why}")
        self.path = path
        self.why = why


class EngineFailed(WorkerError):
    """The engine did not load; `cause` is the last line of its error."""

    code = "ENGINE_FAILED"

    def __init__(self, engine: str, cause: str) -> None:
        super().__init__(f"the engine {engine} did not load: {cause}")
        self.engine = engine
        self.cause = cause


class NoGpus(WorkerError):
    """The wanted GPUs cannot be had on this machine, now or later.

    has_driver: False if the machine has no GPU at all, as far as one can tell.
    """

    code = "NO_GPUS"

    def __init__(self, why: str, *, has_driver: bool = True) -> None:
        super().__init__(f"GPUs: {why}")
        self.why = why
        self.has_driver = has_driver


class BadFilesFolder(WorkerError):
    """The folder for the files of jobs cannot be used."""

    code = "BAD_FILES_FOLDER"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"PENSTOCK_WORKER_FILES_DIR: expected a folder that this worker may write to, cannot "
            f"use {path!r}: {why}"
        )
        self.path = path
        self.why = why


class BadGpuFolder(WorkerError):
    """The folder of the GPUs' locks cannot be used."""

    code = "BAD_GPU_FOLDER"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"PENSTOCK_WORKER_GPU_DIR: expected a folder that all workers of the machine may "
            f"write to, cannot use {path!r}: {why}"
        )
        self.path = path
        self.why = why
