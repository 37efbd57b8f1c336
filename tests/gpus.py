"""A machine with stubs of GPUs: `nvidia-smi` is a script, and the libraries are built here."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MODEL = "NVIDIA H100 80GB HBM3"

MIB = 1024 * 1024
GIB = 1024 * MIB

LIBRARIES = Path(__file__).with_name("stub_libraries.c")

COMPILER = shutil.which("cc") or shutil.which("gcc")


class StubGpus:
    """The GPUs of a stub machine, for processes with its `path` as PATH."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.locks = folder / "locks"
        self.listing = folder / "listing"
        self.has(count)
        program = folder / "bin" / "nvidia-smi"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] && cat '{self.listing}'\n")
        program.chmod(0o755)
        self.path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def has(self, count: int) -> None:
        """Let the machine have this number of GPUs."""
        self.folder.mkdir(exist_ok=True)
        lines = [f"GPU {number}: {MODEL} (UUID: {uuid(number)})\n" for number in range(count)]
        self.listing.write_text("".join(lines))

    def settings(self, **more: object) -> dict[str, Any]:
        """Return settings of a worker that takes one of these GPUs, which nobody watches."""
        return {"gpus": 1, "gpu_dir": self.locks, "gpu_health": False, **more}


class StubLibraries:
    """Stubs of libcuda and libnvidia-ml, for processes with `path` in LD_LIBRARY_PATH."""

    def __init__(self, folder: Path) -> None:
        assert COMPILER is not None, "a test without a compiler is skipped"
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.path = folder / "lib"
        self.path.mkdir()
        library = self.path / "libcuda.so.1"
        command = [COMPILER, "-shared", "-fPIC", f'-DSTATE="{self.state}"', "-o", str(library)]
        subprocess.run([*command, str(LIBRARIES)], check=True)
        shutil.copy(library, self.path / "libnvidia-ml.so.1")

    def set(self, name: str, word: object) -> None:
        """Write one of the files of the state, all at once."""
        fresh = self.state / f"{name}.new"
        fresh.write_text(f"{word}\n")
        fresh.rename(self.state / name)

    def use(self, used_bytes: int, *, total_bytes: int = 80 * GIB) -> None:
        """Let this memory be in use on each GPU."""
        self.set("memory", f"{used_bytes} {total_bytes}")

    def report_xid(self, number: int) -> None:
        """Let the driver report an Xid error."""
        with (self.state / "xids").open("a") as file:
            file.write(f"{number}\n")


def uuid(number: int) -> str:
    """Return the UUID of a stub GPU."""
    return f"GPU-{number:08x}-0000-4000-8000-000000000000"
