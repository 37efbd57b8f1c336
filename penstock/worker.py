"""What your handler imports: the errors it may raise, the context it may take, files and sounds."""

from inference_worker import (
    Audio,
    BadInput,
    Cancelled,
    Context,
    File,
    Retryable,
    SampleRate,
)

__all__ = ["Audio", "BadInput", "Cancelled", "Context", "File", "Retryable", "SampleRate"]
