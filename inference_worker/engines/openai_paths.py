"""What the OpenAI face asks of an engine, as the path of a job tells it."""

from inference_worker.engines.failures import BadInput

#: Jobs that want text.
TEXT = frozenset({"v1/chat/completions", "v1/completions"})
#: Jobs that want vectors.
VECTORS = frozenset({"v1/embeddings"})


def refuse_text(path: str) -> None:
    """Raise BadInput for a job that wants text, of an engine that makes vectors."""
    if path in TEXT:
        raise BadInput(
            f"this service makes embeddings and no text: expected /v1/embeddings, got /{path}"
        )


def refuse_vectors(path: str) -> None:
    """Raise BadInput for a job that wants vectors, of an engine that writes text."""
    if path in VECTORS:
        raise BadInput(
            "this service writes text and makes no embeddings: expected /v1/chat/completions or "
            f"/v1/completions, got /{path}"
        )
