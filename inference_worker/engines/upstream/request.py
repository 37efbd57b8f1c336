"""From a job to the HTTP request for the server.  Pure."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from yarl import URL

from client_sdk.wire import names
from inference_worker.engines.engine import Job
from inference_worker.engines.upstream.options import Mode, UpstreamOptions
from inference_worker.engines.upstream.sub_path import BadPath, allowed_paths, encoded_path

_EVENT_STREAM = "text/event-stream"


class CannotBeSent(ValueError):
    """The job's path or content type is not valid in an HTTP request; a retry does not help."""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST: the job's data is its body."""

    url: URL
    headers: dict[str, str]


def request_for(job: Job, base: str, *, options: UpstreamOptions) -> Request:
    """Return the request for this job.

    base: the server's URL with its path, without a slash at the end.
    """
    return Request(
        URL(base + _path(job, options) + _query(job), encoded=True), _headers(job, options)
    )


def _path(job: Job, options: UpstreamOptions) -> str:
    allowed = allowed_paths(options.paths, has_credentials=options.has_credentials)
    try:
        return encoded_path(job.path, allowed=allowed)
    except BadPath as error:
        raise CannotBeSent(str(error)) from None


def _query(job: Job) -> str:
    query = {
        name: value
        for name, value in job.tags.items()
        if name != names.REQUEST_ID_TAG and not names.is_reserved(name)
    }
    return "?" + urlencode(query) if query else ""


def _headers(job: Job, options: UpstreamOptions) -> dict[str, str]:
    content_type = job.content_type
    if options.mode is Mode.JSON and "json" not in content_type.lower():
        content_type = names.JSON
    if any(ord(character) < 32 or ord(character) == 127 for character in content_type):
        raise CannotBeSent("expected a content type of one line")
    streamed = options.mode in (Mode.SSE, Mode.OPENAI_SSE, Mode.LLAMA_CPP, Mode.TGI)
    headers = {
        "Accept": f"{_EVENT_STREAM}, */*;q=0.5" if streamed else "*/*",
        # Uncompressed, because the limit applies to the size on the wire.
        "Accept-Encoding": "identity",
        **options.send_headers,
        names.REQUEST_ID_HEADER: quote(job.request_id, safe="".join(map(chr, range(33, 127)))),
        names.ATTEMPT_HEADER: str(job.attempt),
    }
    return {**headers, "Content-Type": content_type} if content_type else headers
