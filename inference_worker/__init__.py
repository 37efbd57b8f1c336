"""The inference worker: receives deliveries, runs them on an engine, answers each one once.

The names here are for authors of handlers; import them from `penstock.worker`.
"""

import sys

# `python -m` searches the current folder first, so a queue.py or a redis.py there would replace
# Python's or the library's.  This moves the folder to the end, before anything else is imported.
# Local mode and the images use `python -P -m`, which leaves the folder out.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from inference_worker.engines.engine import Cancelled, Context
from inference_worker.engines.failures import BadInput, Retryable
from inference_worker.engines.file_kinds import SampleRate
from inference_worker.engines.handler_files import Audio, File

__all__ = ["Audio", "BadInput", "Cancelled", "Context", "File", "Retryable", "SampleRate"]
