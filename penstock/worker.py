"""What your handler imports: the errors it may raise and the context it may take."""

from inference_worker import BadInput, Cancelled, Context, Retryable

__all__ = ["BadInput", "Cancelled", "Context", "Retryable"]
