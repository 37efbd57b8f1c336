"""The module that `import runpod` finds: replaces the names that serverless handlers use.

RunPod's package need not be installed.  Nothing here uses the network: an upload becomes a data URL
in the result, and a download reads a data URL of the job.
"""

import contextlib
import inspect
import logging
import os
import re
import shutil
import sys
import tempfile
import types
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from inference_worker.engines import data_url
from inference_worker.engines.engine import Context
from inference_worker.engines.failures import BadInput
from inference_worker.engines.runpod_validator import validate

#: The largest unpacked size of a job's archive, in bytes.
MOST_UNPACKED_BYTES = 1024 * 1024 * 1024

#: Folders that handlers remove between jobs, below the worker's folder.
_LEFTOVERS = ("input_objects", "output_objects", "job_files")

_LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "TIP": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}

#: `3/10` or `30%` in progress messages.
_PART = re.compile(r"(\d+)\s*/\s*(\d+)|(\d+(?:\.\d+)?)\s*%")

log = logging.getLogger("runpod")

_contexts: dict[str, Context] = {}
_folders: defaultdict[str, list[str]] = defaultdict(list)


class RunPodLogger:
    """Writes to the worker's log."""

    _one: "RunPodLogger | None" = None
    level = "DEBUG"

    def __new__(cls) -> "RunPodLogger":
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one

    def set_level(self, new_level: str | int) -> None:
        """Log this level and those above; NOTSET logs nothing."""
        names = ["NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
        name = names[new_level] if isinstance(new_level, int) else str(new_level).upper()
        if name not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {new_level!r}")
        self.level = name

    def log(self, message: object, message_level: str = "INFO", job_id: str | None = None) -> None:
        """Log a message."""
        number = _LEVELS[message_level]
        if self.level == "NOTSET" or number < _LEVELS[self.level]:
            return
        log.log(number, "%s%s", f"{job_id} | " if job_id else "", message)

    def secret(self, secret_name: str, secret: object) -> None:
        """Log the name of a secret, without its value."""
        self.info(f"{secret_name}: {'*' * 8}")

    def trace(self, message: object, request_id: str | None = None) -> None:
        """Log at level TRACE."""
        self.log(message, "TRACE", request_id)

    def debug(self, message: object, request_id: str | None = None) -> None:
        """Log at level DEBUG."""
        self.log(message, "DEBUG", request_id)

    def info(self, message: object, request_id: str | None = None) -> None:
        """Log at level INFO."""
        self.log(message, "INFO", request_id)

    def warn(self, message: object, request_id: str | None = None) -> None:
        """Log at level WARN."""
        self.log(message, "WARN", request_id)

    def error(self, message: object, request_id: str | None = None) -> None:
        """Log at level ERROR."""
        self.log(message, "ERROR", request_id)

    def tip(self, message: object) -> None:
        """Log advice."""
        self.log(message, "TIP")


class VolumeCache:
    """Does nothing: the worker keeps its disk between jobs."""

    def __init__(self, *arguments: object, **options: object) -> None:
        """Accept all arguments of RunPod's class."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def hydrate(self) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""


def enter_job(job: Mapping[str, Any], context: Context) -> None:
    """Start a job."""
    _contexts[job["id"]] = context


def leave_job(job: Mapping[str, Any] | None) -> None:
    """End a job, and remove its downloads."""
    if job is not None:
        _contexts.pop(job["id"], None)
        for folder in _folders.pop(job["id"], ()):
            shutil.rmtree(folder, ignore_errors=True)


def progress_update(job: Mapping[str, Any], progress: Any) -> None:
    """Report the progress of a job: a fraction, or a text that may contain `3/10` or `30%`."""
    if context := _contexts.get(job["id"]):
        context.progress(_fraction(progress), "" if _is_number(progress) else str(progress))


def _is_number(progress: Any) -> bool:
    return isinstance(progress, int | float) and not isinstance(progress, bool)


def _fraction(progress: Any) -> float:
    if _is_number(progress):
        part = float(progress) if progress <= 1 else progress / 100
    elif found := _PART.search(str(progress)):
        done, whole, percent = found.groups()
        part = float(percent) / 100 if percent else int(done) / max(1, int(whole))
    else:
        part = 0.0
    return min(max(part, 0.0), 1.0)


# --- runpod.serverless.utils


def clean(folder_list: Iterable[str] | None = None) -> None:
    """Remove the usual leftovers of handlers, and these folders."""
    for folder in (*_LEFTOVERS, *(folder_list or ())):
        shutil.rmtree(folder, ignore_errors=True)
    Path("output.zip").unlink(missing_ok=True)


def has_gpu() -> bool:
    """Return whether NVIDIA's driver is installed, without importing torch."""
    return Path("/dev/nvidiactl").exists()


def download_files_from_urls(job_id: str, urls: str | list[str]) -> list[str]:
    """Write the data URLs of a job into files; return their paths."""
    return [_write(job_id, url) for url in ([urls] if isinstance(urls, str) else urls)]


def download_file(file_url: str) -> dict[str, Any]:
    """Write a data URL into a file, and unpack it if it is a zip archive."""
    path = Path(_write("", file_url))
    unpacked = None
    if path.suffix == ".zip":
        unpacked = str(path.with_suffix(""))
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > MOST_UNPACKED_BYTES:
                raise BadInput(f"expected an archive of at most {MOST_UNPACKED_BYTES} bytes")
            archive.extractall(unpacked)
    return {
        "file_path": str(path),
        "type": path.suffix.lstrip("."),
        "original_name": path.name,
        "extracted_path": unpacked,
    }


def upload_file_to_bucket(
    file_name: str, file_location: str, *more: object, **named: object
) -> str:
    """Return the file as a data URL."""
    return data_url.encode(Path(file_location).read_bytes(), file_name)


def upload_in_memory_object(
    file_name: str, file_data: bytes, *more: object, **named: object
) -> str:
    """Return the bytes as a data URL."""
    return data_url.encode(file_data, file_name)


def upload_image(job_id: str, image_location: str, *more: object, **named: object) -> str:
    """Return the image as a data URL."""
    return data_url.encode(Path(image_location).read_bytes(), str(image_location))


def upload_files(job_id: str, file_list: Iterable[str], *more: object) -> list[str]:
    """Return the files as data URLs."""
    return [upload_image(job_id, location) for location in file_list]


def _write(job_id: str, url: str) -> str:
    try:
        file = data_url.decode(url)
    except data_url.NoDataURL as error:
        # Otherwise every client could make this machine open any address.
        raise BadInput(f"the file to download {error}; addresses are not opened here") from error
    # Not named after the job's id: the client chooses it, and it may be a path.
    folder = tempfile.mkdtemp(prefix="penstock-input-")
    _folders[job_id or _only_job()].append(folder)
    path = Path(folder) / f"file{file.suffix}"
    path.write_bytes(file.data)
    return str(path)


def _only_job() -> str:
    return next(reversed(_contexts), "")


# --- The modules


class Started:
    """What a module registered with `runpod.serverless` while it was imported."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.checks: list[Callable[[], Any]] = []

    def start(self, config: dict[str, Any]) -> None:
        """Replace `runpod.serverless.start`."""
        self.config = config

    def register_fitness_check(self, check: Callable[[], Any]) -> Callable[[], Any]:
        """Register a check that runs before the first job; it raises if the worker cannot work."""
        self.checks.append(check)
        return check

    def check(self) -> Any:
        """Run the checks; return a coroutine if some of them must be awaited."""
        waits = [wait for check in self.checks if inspect.isawaitable(wait := check())]
        return _all_of(waits) if waits else None


async def _all_of(waits: list[Any]) -> None:
    for wait in waits:
        await wait


def install() -> Started:
    """Make `import runpod` find the names above; return the object that records its calls."""
    started = Started()
    logger = {"RunPodLogger": RunPodLogger}
    files = {
        "download_files_from_urls": download_files_from_urls,
        "upload_file_to_bucket": upload_file_to_bucket,
        "upload_in_memory_object": upload_in_memory_object,
        "VolumeCache": VolumeCache,
    }
    serverless = {
        "start": started.start,
        "progress_update": progress_update,
        "register_fitness_check": started.register_fitness_check,
        "VolumeCache": VolumeCache,
        "log": RunPodLogger(),
        **logger,
    }
    named: dict[str, dict[str, Any]] = {
        "runpod": {"api_key": os.environ.get("RUNPOD_API_KEY"), "__version__": "0.0.0", **logger},
        "runpod.serverless": serverless,
        "runpod.serverless.modules": {},
        "runpod.serverless.modules.rp_fitness": {
            "register_fitness_check": started.register_fitness_check
        },
        "runpod.serverless.modules.rp_logger": logger,
        "runpod.serverless.modules.rp_progress": {"progress_update": progress_update},
        "runpod.serverless.utils": files,
        "runpod.serverless.utils.rp_cleanup": {"clean": clean},
        "runpod.serverless.utils.rp_cuda": {"is_available": has_gpu},
        "runpod.serverless.utils.rp_debugger": _debugger(),
        "runpod.serverless.utils.rp_download": {**files, "file": download_file},
        "runpod.serverless.utils.rp_upload": {
            **files,
            "upload_image": upload_image,
            "files": upload_files,
        },
        "runpod.serverless.utils.rp_validator": {"validate": validate},
        "runpod.serverless.utils.rp_volume_cache": {"VolumeCache": VolumeCache},
    }
    for name, members in named.items():
        module = types.ModuleType(name, __doc__)
        module.__path__ = []
        vars(module).update(members)
        sys.modules[name] = module
        above, _, last = name.rpartition(".")
        if above:
            setattr(sys.modules[above], last, module)
    return started


def _debugger() -> dict[str, Any]:
    class _Timer(contextlib.nullcontext[None]):
        """Times nothing."""

    return {"LineTimer": _Timer, "FunctionTimer": lambda function: function}
