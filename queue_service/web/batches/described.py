"""How the Batch API describes a batch: OpenAI's fields."""

from collections.abc import Sequence

from queue_service.store.batch import Batch, Status

#: Each status with a time of its own.
_TIMES = tuple(status for status in Status if status is not Status.VALIDATING)


def described(batch: Batch) -> dict[str, object]:
    """Return a batch as an object of OpenAI's API; times are seconds since 1970."""
    about, state, usage = batch.about, batch.state, batch.state.usage
    times_ms = dict(state.times_ms)
    if batch.canceled_at_ms and batch.status in (Status.CANCELLING, Status.CANCELLED):
        times_ms[Status.CANCELLING] = batch.canceled_at_ms
    ended = state.status.is_final
    errors = {"object": "list", "data": [dict(error) for error in state.errors]}
    return {
        "id": about.id,
        "object": "batch",
        "endpoint": about.endpoint,
        "model": state.model or None,
        "errors": errors if state.errors else None,
        "input_file_id": about.input_file_id,
        "completion_window": about.completion_window,
        "status": str(batch.status),
        "output_file_id": about.output_file_id if ended and state.completed else None,
        "error_file_id": about.error_file_id if ended and state.failed else None,
        "created_at": about.created_at_ms // 1000,
        "expires_at": about.expires_at_ms // 1000,
        **{
            f"{status}_at": times_ms[status] // 1000 if status in times_ms else None
            for status in _TIMES
        },
        "request_counts": {
            "total": state.total,
            "completed": state.completed,
            "failed": state.failed,
        },
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
        "metadata": dict(about.metadata) or None,
    }


def listed(batches: Sequence[Batch], *, has_more: bool) -> dict[str, object]:
    """Return a page of batches."""
    return {
        "object": "list",
        "data": [described(batch) for batch in batches],
        "first_id": batches[0].about.id if batches else None,
        "last_id": batches[-1].about.id if batches else None,
        "has_more": has_more,
    }
