"""OpenAI's own client makes batches, follows them and reads what they have come to."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openai import ConflictError, NotFoundError, RateLimitError
from openai.types import Batch

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.batches.conftest import (
    CHAT,
    OBEDIENT,
    Batches,
    batches_of,
    line,
    lines,
    names,
    stored,
)
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until


@pytest.mark.usefixtures("worker")
async def test_every_line_is_answered_once(batches: Batches) -> None:
    made = await batches.submit(lines(300), metadata={"of": "the night"})
    assert made.object == "batch"
    assert made.status in ("validating", "in_progress")
    assert made.metadata == {"of": "the night"}
    assert made.expires_at == made.created_at + 24 * 3600
    ended = await batches.end(made)
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert ended.request_counts.model_dump() == {"total": 300, "completed": 300, "failed": 0}
    assert ended.error_file_id is None
    assert ended.model == "svc"
    answers = await batches.read(ended.output_file_id)
    assert sorted(one["custom_id"] for one in answers) == sorted(f"line-{n}" for n in range(300))
    for one in answers:
        response = one["response"]
        assert (response["status_code"], one["error"]) == (200, None)
        number = one["custom_id"].removeprefix("line-")
        assert response["body"]["choices"][0]["message"]["content"] == f"text {number}"
    assert response["request_id"].startswith(f"{made.id}-")
    times = (ended.in_progress_at, ended.finalizing_at, ended.completed_at)
    assert all(time is not None and time >= made.created_at for time in times)
    listed = [one.id async for one in batches.client.batches.list(limit=1)]
    assert listed == [made.id]


@pytest.mark.usefixtures("obedient_worker")
async def test_lines_that_fail_are_in_the_error_file(batches: Batches) -> None:
    wanted = [line("good", "hello"), line("bad", "fail"), line("better", "hello again")]
    ended = await batches.end(await batches.submit(wanted))
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert ended.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
    assert names(await batches.read(ended.output_file_id)) == ["better", "good"]
    (error,) = await batches.read(ended.error_file_id)
    assert error["custom_id"] == "bad"
    assert error["response"]["status_code"] == 400
    assert "as it was asked to" in error["response"]["body"]["error"]["message"]
    assert ended.usage is not None
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (6, 4)
    assert ended.usage.total_tokens == 10


BAD_LINES = [
    ("no JSON", "{", "invalid_json_line"),
    ("no object", "[1]", "invalid_json_line"),
    ("no custom_id", {**line("x", "y"), "custom_id": None}, "missing_required_parameter"),
    ("empty custom_id", line("", "y"), "invalid_request"),
    ("a number as custom_id", {**line("x", "y"), "custom_id": 5}, "invalid_request"),
    ("the first's custom_id", line("first", "y"), "duplicate_custom_id"),
    ("another method", {**line("x", "y"), "method": "GET"}, "invalid_request"),
    ("another url", {**line("x", "y"), "url": "/v1/embeddings"}, "invalid_request"),
    ("no body", {**line("x", "y"), "body": None}, "missing_required_parameter"),
    ("no messages", {**line("x", "y"), "body": {"model": "svc"}}, "invalid_request"),
    ("a stream", line("x", "y", stream=True), "invalid_request"),
    ("another field", {**line("x", "y"), "priority": 1}, "invalid_request"),
    ("another service", line("x", "y", model="other"), "mismatched_model"),
]


@pytest.mark.parametrize(
    ("bad", "code"), [case[1:] for case in BAD_LINES], ids=[case[0] for case in BAD_LINES]
)
async def test_a_bad_line_fails_the_batch_before_it_begins(
    batches: Batches, bad: Any, code: str
) -> None:
    ended = await batches.end(await batches.submit([line("first", "x"), bad, line("last", "z")]))
    assert ended.status == "failed"
    assert ended.failed_at is not None
    assert ended.errors is not None
    assert ended.errors.data is not None
    assert [(error.line, error.code) for error in ended.errors.data] == [(2, code)]
    assert ended.output_file_id is None
    assert ended.error_file_id is None


async def test_every_bad_line_is_named_up_to_a_hundred(batches: Batches) -> None:
    ended = await batches.end(await batches.submit([line("first", "x"), *(["{"] * 150)]))
    assert ended.errors is not None
    assert ended.errors.data is not None
    assert [error.line for error in ended.errors.data] == list(range(2, 102))


async def test_a_file_without_lines_fails(batches: Batches) -> None:
    ended = await batches.end(await batches.submit(["", "  "]))
    assert ended.errors is not None
    assert ended.errors.data is not None
    assert [(error.line, error.code) for error in ended.errors.data] == [(None, "empty_file")]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": None}, "completion_window"),
        ({"completion_window": "0s"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"endpoint": ["/v1/completions"]}, "endpoint"),
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"requests": []}, "input_file_id"),
        ({"input_file_id": None, "requests": []}, "requests"),
        ({"input_file_id": None, "requests": ["x"]}, "requests"),
        ({"metadata": {"x": 1}}, "metadata"),
        ({"metadata": {"x" * 65: "1"}}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "output", "seconds": 3600}}, "output_expires_after"),
        ({"output_expires_after": {"seconds": 3599}}, "output_expires_after"),
        ({"priority": 1}, "priority"),
    ],
)
async def test_a_bad_wish_is_refused_and_makes_nothing(
    batches: Batches, change: dict[str, Any], name: str
) -> None:
    wish = {
        "input_file_id": await batches.upload(lines(1)),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    status, body = await batches.ask("POST", "", json={**wish, **change})
    assert (status, body["error"]["param"]) == (400, name), body
    assert [one.id async for one in batches.client.batches.list()] == []


async def test_what_a_batch_needs_must_exist(batches: Batches) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        await batches.client.batches.create(
            input_file_id="file_no", endpoint=CHAT, completion_window="24h"
        )
    with pytest.raises(NotFoundError, match="there is no batch"):
        await batches.client.batches.retrieve("batch_no")
    with pytest.raises(NotFoundError, match="there is no batch"):
        await batches.client.batches.cancel("batch_no")
    with pytest.raises(NotFoundError, match="there is no service 'other'"):
        await batches.submit([line("x", "y", model="other")])


@pytest.mark.usefixtures("worker")
async def test_requests_may_be_in_the_body(batches: Batches) -> None:
    """Without a file of your own; method and url are those of the endpoint."""
    body = {"model": "svc", "messages": [{"role": "user", "content": "hi"}]}
    requests = [{"custom_id": f"{number}", "body": body} for number in range(3)]
    wish = {"endpoint": CHAT, "completion_window": "90s", "requests": requests}
    status, made = await batches.ask("POST", "", json=wish)
    assert status == 200, made
    ended = await batches.end(Batch.model_validate(made))
    assert names(await batches.read(ended.output_file_id)) == ["0", "1", "2"]
    assert names(await batches.read(ended.input_file_id)) == ["0", "1", "2"]


@pytest.mark.usefixtures("patient_worker")
async def test_canceling_keeps_what_is_done(batches: Batches, tmp_path: Path) -> None:
    wanted = [*lines(20), *(line(f"held-{n}", f"wait {tmp_path / 'go'}") for n in range(300))]
    made = await batches.submit(wanted)

    async def some_done() -> bool:
        counts = (await batches.client.batches.retrieve(made.id)).request_counts
        return counts is not None and counts.completed == 20

    await wait_until(some_done, "the lines that nothing holds are done")
    status, partial = await batches.ask("GET", f"/{made.id}/output")
    assert status == 200
    assert names([json.loads(one) for one in partial.splitlines()]) == names(lines(20))
    assert await batches.ask("GET", f"/{made.id}/errors") == (200, "")
    canceled = await batches.client.batches.cancel(made.id)
    assert canceled.status == "cancelling"
    assert canceled.cancelling_at is not None
    ended = await batches.end(made)
    assert ended.status == "cancelled"
    assert ended.cancelled_at is not None
    answers, errors = (
        await batches.read(ended.output_file_id),
        await batches.read(ended.error_file_id),
    )
    assert names(answers + errors) == names(wanted)
    assert names(answers) == names(lines(20))
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    assert ended.request_counts is not None
    assert ended.request_counts.model_dump() == {"total": 320, "completed": 20, "failed": 300}
    assert (await batches.client.batches.cancel(made.id)).status == "cancelled"
    status, same = await batches.ask("GET", f"/{made.id}/output")
    assert names([json.loads(one) for one in same.splitlines()]) == names(lines(20))


async def test_a_batch_that_has_ended_cannot_be_canceled(batches: Batches) -> None:
    ended = await batches.end(await batches.submit(["{"]))
    with pytest.raises(ConflictError, match="has ended"):
        await batches.client.batches.cancel(ended.id)


async def test_lines_without_a_worker_expire(batches: Batches) -> None:
    made = await batches.submit(lines(70), window="2s")
    ended = await batches.end(made)
    assert ended.status == "expired"
    assert ended.expired_at is not None
    assert ended.expires_at == ended.created_at + 2
    errors = await batches.read(ended.error_file_id)
    assert names(errors) == names(lines(70))
    assert {one["error"]["code"] for one in errors} == {"batch_expired"}


async def test_a_batch_belongs_to_the_owner_of_its_token(batches: Batches) -> None:
    mine = await batches.make_token("submit", "read")
    same = await batches.make_token("submit", "read", owner="team")
    team = await batches.make_token("submit", "read", owner="team")
    everybody = await batches.make_token("submit", "read", "all")
    body = {"model": "svc", "messages": [{"role": "user", "content": "hi"}]}
    requests = [{"custom_id": "1", "body": body}]
    wish = {"endpoint": CHAT, "completion_window": "1h", "requests": requests}
    for token, others in ((mine, [team, TOKEN]), (same, [mine, TOKEN])):
        status, made = await batches.ask("POST", "", token=token, json=wish)
        assert status == 200, made
        for other in others:
            for method, rest in (("GET", ""), ("GET", "/output"), ("POST", "/cancel")):
                path = f"/{made['id']}{rest}"
                assert (await batches.ask(method, path, token=other))[0] == 404
            listed = (await batches.ask("GET", "", token=other))[1]["data"]
            assert made["id"] not in [one["id"] for one in listed]
        assert (await batches.ask("GET", f"/{made['id']}", token=everybody))[0] == 200
        assert (await batches.ask("GET", f"/{made['id']}", token=token))[0] == 200
        assert len((await batches.ask("GET", "", token=token))[1]["data"]) == 1
        status, canceled = await batches.ask("POST", f"/{made['id']}/cancel", token=everybody)
        assert (status, canceled["status"]) == (200, "cancelling")
        await _ended(batches, made["id"], token)
    status, found = await batches.ask("GET", "", token=team)
    assert (status, len(found["data"])) == (200, 1), "its owner's"
    async with batches_of(batches.url, everybody) as seen:
        for batch_id in (canceled["id"], made["id"]):
            assert (await seen.client.batches.retrieve(batch_id)).id == batch_id
    for token in (mine, team):
        async with batches_of(batches.url, token) as of_token:
            await of_token.delete_files()


async def _ended(batches: Batches, batch_id: str, token: str) -> None:
    async def ended() -> bool:
        _, batch = await batches.ask("GET", f"/{batch_id}", token=token)
        return bool(batch["status"] == "cancelled")

    await wait_until(ended, f"{batch_id} has ended")


@pytest.mark.usefixtures("worker")
async def test_the_input_may_be_deleted_while_the_batch_runs(batches: Batches) -> None:
    made = await batches.submit(lines(100))
    await batches.client.files.delete(made.input_file_id)
    ended = await batches.end(made)
    assert names(await batches.read(ended.output_file_id)) == names(lines(100))


@pytest.mark.usefixtures("worker")
async def test_nothing_is_left_in_the_folder(batches: Batches, files_dir: Path) -> None:
    ended = await batches.end(await batches.submit(lines(3)))
    folder = files_dir / "batches"
    await wait_until(lambda: list(folder.iterdir()) == [], "the folder of the batch is removed")
    await batches.client.files.delete(ended.input_file_id)
    assert ended.output_file_id is not None
    await batches.client.files.delete(ended.output_file_id)
    assert stored(files_dir) == []


async def test_lines_with_equal_prefixes_run_next_to_each_other(
    batches: Batches, service: QueueServiceProcess, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Whatever the order of the file."""
    noted = tmp_path / "noted"
    prompts = [f"You are number {number}. " + "Be brief. " * 50 for number in range(5)]
    wanted = []
    for number in range(40):
        prompt = number % 5
        asked = line(f"{number}", f"note {noted} {prompt}")
        asked["body"]["messages"].insert(0, {"role": "system", "content": prompts[prompt]})
        wanted.append(asked)
    made = await batches.submit(wanted)
    await start_worker(service.url, engine=OBEDIENT)
    await batches.end(made)
    order = noted.read_text().split()
    assert len([1 for one, two in pairwise(order) if one != two]) == 4, order


async def test_an_owner_has_a_limit_of_open_batches(
    start_service: StartService, files_dir: Path
) -> None:
    service = await start_service(
        files_dir=str(files_dir), files_reserve_mb=0, max_open_batches=2, max_batch_lines=3
    )
    async with batches_of(service.url) as batches:
        batches.client.max_retries = 0
        opened = [await batches.submit(lines(3)) for _ in range(2)]
        with pytest.raises(RateLimitError, match="2 batches that have not ended"):
            await batches.submit(lines(1))
        for one in opened:
            await batches.client.batches.cancel(one.id)
            await batches.end(one)
        ended = await batches.end(await batches.submit(lines(4)))
        assert ended.errors is not None
        assert ended.errors.data is not None
        assert ended.errors.data[0].code == "too_many_tasks"
        await batches.delete_files()


async def test_without_a_folder_there_are_no_batches(start_service: StartService) -> None:
    service = await start_service()
    async with batches_of(service.url) as batches:
        wish = {"endpoint": CHAT, "completion_window": "1h", "input_file_id": "file_x"}
        status, body = await batches.ask("POST", "", json=wish)
        assert (status, body["error"]["code"]) == (501, "NO_FILE_STORE")


@pytest.mark.usefixtures("obedient_worker")
async def test_lines_may_name_files(batches: Batches) -> None:
    picture = await batches.client.files.create(file=("a.png", b"x" * 300), purpose="vision")
    absent = "file_00000000000000000000000000000000"
    wanted = [
        line("there", "size", image={"$file": picture.id}),
        line("absent", "size", image={"$file": absent}),
    ]
    ended = await batches.end(await batches.submit(wanted))
    (answer,) = await batches.read(ended.output_file_id)
    assert answer["custom_id"] == "there"
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "300"
    (error,) = await batches.read(ended.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("absent", 404)
    assert absent in error["response"]["body"]["error"]["message"]


async def test_results_go_on_from_a_byte(
    batches: Batches, service: QueueServiceProcess, start_worker: StartWorker, tmp_path: Path
) -> None:
    """While the batch runs as after its end: what was sent once does not change."""
    going = tmp_path / "going"
    await start_worker(service.url, engine=OBEDIENT)
    made = await batches.submit([*lines(3), line("held", f"wait {going}")])

    async def three() -> bool:
        return len((await batches.ask("GET", f"/{made.id}/output"))[1].splitlines()) == 3

    await wait_until(three, "three lines are answered")
    begin = (await batches.ask("GET", f"/{made.id}/output"))[1]
    size = len(begin.encode())
    for ended in (False, True):
        if ended:
            going.touch()
            await batches.end(made)
        _, whole = await batches.ask("GET", f"/{made.id}/output")
        assert whole.startswith(begin)
        for start in (1, size - 1):
            headers = {"Range": f"bytes={start}-"}
            status, rest = await batches.ask("GET", f"/{made.id}/output", headers=headers)
            assert (status, rest) == (206, whole[start:])
        headers = {"Range": f"bytes={len(whole.encode())}-"}
        assert (await batches.ask("GET", f"/{made.id}/output", headers=headers))[0] == 416
        assert (await batches.ask("GET", f"/{made.id}/errors", headers=headers))[0] == 416
