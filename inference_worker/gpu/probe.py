"""Asks NVIDIA's libraries whether GPUs work; a program, because a broken driver hangs or crashes.

Run it by path in an interpreter without site-packages:

    python -I -S probe.py once UUID...     one answer: CUDA and NVML, from the beginning
    python -I -S probe.py watch UUID...    one answer per line of input: NVML, and Xid errors

Each answer is a line of JSON (reading.py).  `once` is a new process each time, because cuInit tells
a process only the first time whether driver and library fit together: after an upgrade of the
driver it fails in a new process, while NVML and running processes still work.
"""

import ctypes
import json
import sys
from typing import Any

_NOT_SUPPORTED = 3
_XID_EVENT = 8

#: Results of cuInit that people see, from cuda.h.
_CUDA_NAMES = {
    3: "not initialized",
    46: "the devices are unavailable",
    100: "no device",
    101: "an invalid device",
    214: "an uncorrectable ECC error",
    802: "the system is not ready yet; is the fabric manager running?",
    803: "the driver and the CUDA library do not fit together; reload the driver, or restart",
    804: "this CUDA library does not support the GPU with this driver",
    999: "an unknown error",
}


class Fault(Exception):
    """A library does not answer as it should; cause: `cuda` or `nvml`."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _EventData(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_void_p),
        ("type", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class Nvml:
    """NVML, with the GPUs of these UUIDs; raises Fault."""

    def __init__(self, uuids: list[str]) -> None:
        self._library = _load("nvml", "libnvidia-ml.so.1")
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        self._events: ctypes.c_void_p | None = None
        self._check("nvmlInit_v2")
        self._devices = [self._device(uuid) for uuid in uuids]

    def watch(self) -> None:
        """Ask for Xid errors; without support for them there are none."""
        events = ctypes.c_void_p()
        if self._call("nvmlEventSetCreate", ctypes.byref(events)):
            return
        for device in self._devices:
            whole = ctypes.c_void_p()
            # A MIG slice has no events of its own.
            if self._call(
                "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device, ctypes.byref(whole)
            ):
                whole = device
            self._call("nvmlDeviceRegisterEvents", whole, ctypes.c_ulonglong(_XID_EVENT), events)
        self._events = events

    def xids(self) -> list[int]:
        """Return the Xid errors since the last call."""
        found: list[int] = []
        event = _EventData()
        while self._events is not None and len(found) < 100:
            if self._call(
                "nvmlEventSetWait_v2", self._events, ctypes.byref(event), ctypes.c_uint(0)
            ):
                break
            if event.type == _XID_EVENT:
                found.append(int(event.data))
        return found

    def read(self) -> dict[str, Any]:
        """Return the memory and the utilization of the GPUs."""
        used = total = busiest = 0
        for device in self._devices:
            memory, use = _Memory(), _Utilization()
            self._check("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
            used, total = used + memory.used, total + memory.total
            # Not known for a MIG slice.
            if not self._call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(use)):
                busiest = max(busiest, use.gpu)
        return {"used_bytes": used, "total_bytes": total, "utilization": busiest / 100}

    def _device(self, uuid: str) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        self._check("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(device), about=uuid)
        return device

    def _check(self, name: str, *arguments: Any, about: str = "") -> None:
        if code := self._call(name, *arguments):
            text = self._library.nvmlErrorString(code)
            said = text.decode(errors="replace") if text else ""
            where = f" for {about}" if about else ""
            raise Fault("nvml", f"NVML: {name} failed{where} with {code} ({said})")

    def _call(self, name: str, *arguments: Any) -> int:
        function = getattr(self._library, name, None)
        return _NOT_SUPPORTED if function is None else int(function(*arguments))


def check_cuda(count: int) -> None:
    """Raise Fault unless CUDA starts and sees this number of GPUs."""
    library = _load("cuda", "libcuda.so.1")
    if code := library.cuInit(0):
        raise Fault(
            "cuda", f"CUDA: cuInit failed with {code} ({_CUDA_NAMES.get(code, 'an error')})"
        )
    seen = ctypes.c_int()
    if code := library.cuDeviceGetCount(ctypes.byref(seen)):
        raise Fault("cuda", f"CUDA: cuDeviceGetCount failed with {code}")
    if seen.value < count:
        raise Fault("cuda", f"CUDA: expected {count} GPUs, it sees {seen.value}")


def _load(cause: str, name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise Fault(cause, f"the library {name} cannot be loaded: {error}") from None


def _answer(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Answer once, or once for each line of input."""
    kind, uuids = sys.argv[1], sys.argv[2:]
    try:
        if kind == "once":
            # CUDA shows a process only one slice.
            slices = any(uuid.startswith("MIG-") for uuid in uuids)
            check_cuda(1 if slices else len(uuids))
            _answer(Nvml(uuids).read())
            return
        nvml = Nvml(uuids)
        nvml.watch()
        for _ in sys.stdin:
            _answer({**nvml.read(), "xids": nvml.xids()})
    except Fault as fault:
        _answer({"cause": fault.cause, "fault": str(fault)})


if __name__ == "__main__":
    main()
