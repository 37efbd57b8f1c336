"""The errors of a worker: a machine word, a sentence, and what it is about.

WorkerError
    BadEngine          the engine's name or its options make no sense
    EngineFailed       the engine did not load
    BadTokenFile       the file of the token cannot be read

What goes wrong with one job is not among them: that is a `Failed` event of the engine.
"""


class WorkerError(Exception):
    """What ends a worker with a sentence instead of a traceback."""

    code = "WORKER_ERROR"


class BadEngine(WorkerError):
    """The engine that the settings name cannot be made."""

    code = "BAD_ENGINE"

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")
        self.expected = expected
        self.came = came


class BadTokenFile(WorkerError):
    """The file that should have the token has none."""

    code = "BAD_TOKEN_FILE"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"PENSTOCK_WORKER_TOKEN_FILE: expected a token in {path!r}, got: {why}")
        self.path = path
        self.why = why


class EngineFailed(WorkerError):
    """The engine could not be loaded; `cause` is its own last line."""

    code = "ENGINE_FAILED"

    def __init__(self, engine: str, cause: str) -> None:
        super().__init__(f"the engine {engine} did not load: {cause}")
        self.engine = engine
        self.cause = cause
