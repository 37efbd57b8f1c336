"""The artifacts of a job: the files that it adds beside its result, while it runs."""

from collections.abc import Sequence

from aiohttp import web

from client_sdk.wire.codes import Code
from queue_service.store.artifacts import Artifact
from queue_service.store.ticket import Seen
from queue_service.web.file_response import content_response, file_headers, media_type
from queue_service.web.jobs.find import find, viewer_for
from queue_service.web.jobs.problem import Problem
from queue_service.web.jobs.show import artifacts_of
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response


async def list_artifacts(request: web.Request, caller: Caller) -> web.Response:
    """Answer with what the newest run of a job has added so far, the earliest name first."""
    service, viewer = caller.service, viewer_for(request, caller)
    seen = await find(request, service, viewer)
    return json_response({"artifacts": await artifacts_of(service, seen)})


async def get_artifact(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Send one artifact; `Range`, `If-Range`, `If-None-Match` and `If-Match` are obeyed."""
    service, viewer = caller.service, viewer_for(request, caller)
    seen = await find(request, service, viewer)
    wanted = request.match_info["artifact"]
    found = await service.artifacts.of(seen.request_id) if seen.has_artifacts else []
    artifact = next((one for one in found if one.name == wanted), None)
    if artifact is None:
        raise _missing(seen, wanted, found)
    file = artifact.file
    kind = media_type(file.content_type) or "application/octet-stream"
    headers = file_headers(content_type=kind, filename=artifact.name, sha256=file.sha256)
    content = await service.files.content(file)
    return await content_response(request, content, headers, may_redirect=True)


def _missing(seen: Seen, wanted: str, found: Sequence[Artifact]) -> Problem:
    names = ", ".join(repr(one.name) for one in found[:10])
    there = f"it has {names}" if names else f"it has none, and is {seen.state}"
    sentence = f"the job has no artifact {wanted[:128]!r}: {there}"
    return Problem(404, Code.NOT_FOUND, sentence, job_id=seen.id, state=str(seen.state))
