"""Turns a media request into a submission."""

import hashlib

from queue_service.store.ticket import Submission
from queue_service.web.openai.media_body import Received
from queue_service.web.parameters import as_text


def submission_of(
    received: Received,
    request_id: str,
    *,
    keep_ms: int,
    told_ms: int,
    about: str = "",
    listed: str = "",
) -> Submission:
    """Return what is stored of a request.  about, listed: see Submission."""
    payload, asked = received.payload, received.asked
    return Submission(
        request_id=request_id,
        data=payload.data,
        digest=hashlib.sha256(payload.fingerprint).hexdigest(),
        keep_ms=keep_ms,
        told_ms=told_ms,
        path=str(asked.path),
        content_type=as_text(received.content_type),
        # Clients can follow asynchronous jobs, so these have events.
        events=asked.stream or bool(about),
        quiet=not about,
        putter=received.caller.putter,
        files=payload.files,
        about=about,
        listed=listed,
    )
