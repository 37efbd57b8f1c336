"""A handler that says which GPUs it sees, and which locks it and its children have open."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from penstock.worker import Context

_COUNT = """
import os
print(sum(os.readlink(f"/proc/self/fd/{fd}").endswith(".lock") for fd in os.listdir("/proc/self/fd")
          if os.path.lexists(f"/proc/self/fd/{fd}")))
"""


def sees(job: object) -> dict[str, object]:
    """Return what this process inherited."""
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    child = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True, close_fds=False
    )
    return {
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "order": os.environ.get("CUDA_DEVICE_ORDER"),
        "settings": [name for name in os.environ if name.startswith("PENSTOCK_")],
        "locks": sum(link.endswith(".lock") for link in links),
        "locks_of_child": int(child.stdout),
    }


class Fragile:
    """With a GPU, jobs fail once the file STUB_BROKEN exists; without one they succeed."""

    concurrency = 2

    def predict(self, text: str, ctx: Context) -> str:
        """Return who has run the job."""
        if not os.environ.get("CUDA_VISIBLE_DEVICES"):
            return f"well: {text}"
        broken, pause = Path(os.environ["STUB_BROKEN"]), threading.Event()
        print("subject runs", text, flush=True)
        while text == "waits" or (text == "fails" and not broken.exists()):
            ctx.raise_if_cancelled()
            pause.wait(0.02)
        if broken.exists():
            raise RuntimeError("the stub's GPU is broken")
        return f"sick: {text}"
