"""What operators see of a connected worker."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from client_sdk.wire.load import MAX_REASON_LENGTH as MAX_GPU_REASON_LENGTH
from client_sdk.wire.load import Load
from client_sdk.wire.worker import Hello
from queue_service.service.interfaces import ABOUT

#: The longest name, in characters.
MAX_NAME_LENGTH = 256
#: The most GPUs of one worker; what it says decides what its jobs cost.
MAX_GPUS = 1024
_ABOUT = ("engine", "version", "host", "gpu")


def about_of(hello: Hello, interface: str) -> Mapping[str, object]:
    """Return what a worker says of itself.  interface: the digest of its schemas, "" for none."""
    return {
        "kind": "worker",
        **{name: getattr(hello, name)[:MAX_NAME_LENGTH] for name in _ABOUT},
        "pid": hello.pid,
        # As prelude/usage.lua reads it.
        "gpus": min(hello.gpus, MAX_GPUS),
        "leaves": hello.leaves,
        "since_ms": int(time.time() * 1000),
        **({ABOUT: interface} if interface else {}),
        **({} if hello.load is None else {"load": described(hello.load)}),
    }


def described(load: Load) -> dict[str, object]:
    """Return a load for operators; what a worker writes into it cannot grow without limit."""
    state, reason = load.gpu_state[:MAX_NAME_LENGTH], load.gpu_reason[:MAX_GPU_REASON_LENGTH]
    return asdict(replace(load, gpu_state=state, gpu_reason=reason))
