"""The GPUs of this machine, or of this container, and the names that choose some of them.

`nvidia-smi -L` lists them.  It is a program of its own, so a driver that hangs or crashes cannot
take this process with it.  A GPU that is split into MIG slices is replaced by its slices.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference_worker.errors import NoGpus

#: How long `nvidia-smi` may take, in seconds.  Without the persistence daemon the driver loads
#: first, which takes a few seconds for each GPU.
LIST_TIMEOUT_S = 60.0

_GPU = re.compile(r"GPU (\d+): (.+?) \(UUID: ([^)]+)\)")
_SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+):\s+\(UUID: ([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG slice of a GPU.

    index: as `nvidia-smi` counts GPUs.  uuid: the same in every container.
    slice_index: the number of a MIG slice on its GPU; None for a whole GPU.
    """

    index: int
    uuid: str
    model: str
    slice_index: int | None = None

    @property
    def place(self) -> str:
        """The short name for people: `3`, or `3:1` for a slice."""
        return str(self.index) if self.slice_index is None else f"{self.index}:{self.slice_index}"

    @property
    def visible(self) -> str:
        """The name for CUDA_VISIBLE_DEVICES.

        A number for a whole GPU, because some programs cannot read a UUID there; a slice has none.
        """
        return str(self.index) if self.slice_index is None else self.uuid

    def __str__(self) -> str:
        return f"GPU {self.place} ({self.model})"


def read_list(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs that `nvidia-smi -L` lists."""
    found: list[Gpu] = []
    split = set()
    whole: Gpu | None = None
    for line in text.splitlines():
        if match := _GPU.match(line):
            whole = Gpu(int(match[1]), match[3], match[2])
            found.append(whole)
        elif whole is not None and (match := _SLICE.match(line)):
            split.add(whole)
            found.append(Gpu(whole.index, match[3], f"{whole.model} MIG {match[1]}", int(match[2])))
    return tuple(gpu for gpu in found if gpu not in split)


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use; raises NoGpus if they cannot be listed."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIST_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise NoGpus(
            "there is no program nvidia-smi; is the NVIDIA driver installed, and was the container "
            "given its GPUs?",
            has_driver=False,
        ) from None
    except subprocess.TimeoutExpired:
        raise NoGpus(f"nvidia-smi gave no answer within {LIST_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise NoGpus(f"nvidia-smi cannot be started: {error.strerror}") from None
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise NoGpus(f"nvidia-smi ended with {done.returncode}: {said[:300]}")
    gpus = read_list(done.stdout)
    if not gpus:
        raise NoGpus(f"nvidia-smi lists none: {said[:300] or 'no output'}", has_driver=False)
    return gpus


def names_of(gpus: Sequence[Gpu]) -> str:
    """Return these GPUs for operators, such as `2 x NVIDIA H100 (GPU 0, 3)`."""
    models = Counter(gpu.model for gpu in gpus)
    return ", ".join(
        (f"{count} x {model}" if count > 1 else model)
        + f" (GPU {', '.join(gpu.place for gpu in gpus if gpu.model == model)})"
        for model, count in models.items()
    )


def choose(gpus: Sequence[Gpu], wanted: Iterable[str]) -> tuple[Gpu, ...]:
    """Return the GPUs that these names choose, in the order of the names; raises NoGpus.

    A name is a number of `nvidia-smi`, `3:1` for a MIG slice, or the start of a UUID.  The number
    of a GPU with slices chooses all of them.
    """
    chosen: list[Gpu] = []
    for name in wanted:
        found = [gpu for gpu in gpus if _is_named(gpu, name)]
        if not found:
            known = ", ".join(f"{gpu.place} ({gpu.uuid})" for gpu in gpus)
            raise NoGpus(f"expected some of {known}, got {name!r}")
        if name.startswith(("GPU-", "MIG-")) and len(found) > 1:
            raise NoGpus(f"{name!r} is the start of the UUIDs of {len(found)} GPUs")
        chosen += [gpu for gpu in found if gpu not in chosen]
    return tuple(chosen)


def names_in(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name for part in text.split(",") if (name := part.strip())]


def visible_names(value: str | None) -> list[str] | None:
    """Return the names in CUDA_VISIBLE_DEVICES; None if it allows every GPU.

    CUDA ignores the first invalid entry, such as -1, and all after it.
    """
    if value is None:
        return None
    names: list[str] = []
    for name in (part.strip() for part in value.split(",")):
        if not (name.isdecimal() or name.startswith(("GPU-", "MIG-"))):
            break
        names.append(name)
    return names


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.startswith(("GPU-", "MIG-")):
        return gpu.uuid.startswith(name)
    return name in (gpu.place, str(gpu.index))
