"""From a request's options and input to what is stored."""

import hashlib

from queue_service.service.service import Service
from queue_service.settings.retry import own_policy
from queue_service.store.putter import Putter
from queue_service.store.ticket import Submission
from queue_service.web.jobs.options import Options
from queue_service.web.parameters import as_text
from queue_service.web.payload import Payload


def to_submission(
    service: Service,
    options: Options,
    payload: Payload,
    *,
    job_id: str,
    asked: str,
    putter: Putter | None,
) -> Submission:
    """Return what is stored.  asked: the options as sent, to recognize a repeated put."""
    digest = hashlib.sha256(f"{asked}\n{options.content_type}\n".encode("utf-8", "surrogatepass"))
    digest.update(payload.fingerprint)
    return Submission(
        request_id=job_id,
        data=payload.data,
        digest=digest.hexdigest(),
        keep_ms=service.tickets.keep_ms,
        told_ms=service.tickets.told_ms,
        tags=options.tags,
        priority=options.priority,
        path=as_text(options.path.strip("/")),
        content_type=as_text(options.content_type),
        submission_key=options.idempotency_key or "",
        begin_ms=options.not_before,
        start_by_ms=options.start_by,
        finish_by_ms=options.finish_by,
        run_timeout_ms=options.run_timeout,
        events=options.events,
        retry=own_policy(
            service.description.settings.retry,
            options.retry(),
            max_delivery=service.description.settings.max_delivery,
        ),
        putter=putter,
        files=payload.files,
    )
