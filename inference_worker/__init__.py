"""The inference worker: takes deliveries up to its capacity, runs an engine, answers each once.

The names here are for those who write a handler; see README.md.
"""

from inference_worker.engines.engine import Cancelled, Context
from inference_worker.engines.failures import BadInput, Retryable

__all__ = ["BadInput", "Cancelled", "Context", "Retryable"]
