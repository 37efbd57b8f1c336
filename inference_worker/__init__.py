"""The inference worker: takes deliveries up to its capacity, runs an engine, answers each once.

The names here are for those who write a handler; see README.md.
"""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from inference_worker.engines.engine import Cancelled, Context
from inference_worker.engines.failures import BadInput, Retryable

__all__ = ["BadInput", "Cancelled", "Context", "Retryable"]
