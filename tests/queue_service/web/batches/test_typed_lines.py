"""Lines of a batch for a service with typed inputs."""

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.batches.conftest import Batches, line, names
from tests.running import QueueServiceProcess
from tests.waiting import wait_until

TYPED = "handler:tests.queue_service.web.batches.handlers:Typed"


@pytest.fixture
async def typed_worker(
    service: QueueServiceProcess, start_worker: StartWorker, batches: Batches
) -> None:
    """Run a worker whose `steps` is a number of at most 10, and has told the service so."""
    await start_worker(service.url, engine=TYPED)
    wrong = line("", "x", steps=11)["body"]

    async def is_checked() -> bool:
        return (await batches.chat(wrong))[0] == 422

    await wait_until(is_checked, "the service checks inputs")


@pytest.mark.usefixtures("typed_worker")
async def test_a_line_that_does_not_fit_the_schema_is_an_error_line(batches: Batches) -> None:
    wanted = [line("good", "hello", steps=3), line("bad", "x", steps=11), line("none", "y")]
    ended = await batches.end(await batches.submit(wanted))
    assert ended.status == "completed"
    answers, failures = await batches.results(ended)
    assert names(answers) == ["good"]
    errors = {one["custom_id"]: one for one in failures}
    assert set(errors) == {"bad", "none"}
    response = errors["bad"]["response"]
    assert (response["status_code"], errors["bad"]["error"]) == (422, None)
    # As the same request has it at /v1/chat/completions.
    asked = {**wanted[1]["body"]}
    status, body = await batches.chat(asked)
    assert (status, body) == (422, response["body"])
    assert body["error"]["param"] == "/steps"


@pytest.mark.usefixtures("typed_worker")
async def test_inline_lines_are_checked_too(batches: Batches) -> None:
    requests = [{"custom_id": "1", "body": line("1", "x", steps="many")["body"]}]
    wish = {"endpoint": "/v1/chat/completions", "completion_window": "1h", "requests": requests}
    status, made = await batches.ask("POST", "", json=wish)
    assert status == 200
    ended = await batches.end(await batches.client.batches.retrieve(made["id"]))
    (error,) = await batches.read(ended.error_file_id)
    assert error["response"]["status_code"] == 422
