"""Batches survive the death of every process: each line is answered once, in one of the files."""

import json
from pathlib import Path

import pytest
from openai.types import Batch

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.batches.conftest import Batches, batches_of, line, lines, names, stored
from tests.running import QueueServiceProcess, ServerProcess
from tests.waiting import wait_until

#: What a process that was killed held is free when its lease ends.
pytestmark = pytest.mark.leaves_subscribers

#: Lines of a batch under kills; the benchmark has 50,000.
LINES = 500


@pytest.fixture
async def two(start_service: StartService, files_dir: Path) -> list[QueueServiceProcess]:
    """Run two replicas, which share the folder for files."""
    return [
        await start_service(files_dir=str(files_dir), files_reserve_mb=0, tick_ms=200)
        for _ in range(2)
    ]


async def _completed(batches: Batches, batch: Batch) -> int:
    counts = (await batches.client.batches.retrieve(batch.id)).request_counts
    return counts.completed if counts else 0


async def _reach(batches: Batches, batch: Batch, count: int) -> None:
    async def reached() -> bool:
        return await _completed(batches, batch) >= count

    await wait_until(reached, f"{count} lines are done", 120)


async def _is_whole(batches: Batches, batch: Batch, folder: Path, count: int) -> None:
    """Check that every line is answered once, and that nothing else is left."""
    ended = await batches.end(batch, 120)
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert ended.request_counts.model_dump() == {"total": count, "completed": count, "failed": 0}
    answers = await batches.read(ended.output_file_id)
    assert names(answers) == names(lines(count))
    for one in answers:
        number = one["custom_id"].removeprefix("line-")
        message = one["response"]["body"]["choices"][0]["message"]
        assert message["content"] == f"text {number}"
    files = {ended.input_file_id, ended.output_file_id}
    await wait_until(lambda: set(stored(folder)) == files, "the folder of the batch is removed")
    await batches.delete_files()


async def test_services_and_workers_are_killed(
    two: list[QueueServiceProcess], start_worker: StartWorker, files_dir: Path
) -> None:
    workers: list[ServerProcess] = [await start_worker(one.url, engine="echo") for one in two]
    async with batches_of(two[1].url) as batches:
        made = await batches.submit(lines(LINES))
        for share in range(1, 5):
            await _reach(batches, made, share * LINES // 6)
            for victim in (two[share % 2], workers[share % 2]):
                victim.kill()
                await victim.start()
        await _is_whole(batches, made, files_dir, LINES)


async def test_every_process_is_killed_at_once(
    two: list[QueueServiceProcess], start_worker: StartWorker, files_dir: Path
) -> None:
    worker = await start_worker(two[1].url, engine="echo")
    async with batches_of(two[1].url) as batches:
        made = await batches.submit(lines(LINES))
        await _reach(batches, made, LINES // 4)
        for one in (*two, worker):
            one.kill()
        for one in (two[1], worker):
            await one.start()
        await _is_whole(batches, made, files_dir, LINES)


async def test_a_frozen_process_that_wakes_up_changes_nothing(
    two: list[QueueServiceProcess], start_worker: StartWorker, files_dir: Path
) -> None:
    """It has lost its lease: another process runs the batch, and its own answers do not count."""
    frozen, other = two
    await start_worker(other.url, engine="echo")
    async with batches_of(frozen.url) as batches:
        made = await batches.submit(lines(LINES))
    async with batches_of(other.url) as batches:
        await _reach(batches, made, 1)
        frozen.freeze()
        try:
            # It had no more than its window in the queue: more means that another has taken over.
            await _reach(batches, made, LINES - 1)
        finally:
            frozen.thaw()
        await _is_whole(batches, made, files_dir, LINES)


async def test_a_stopped_replica_hands_its_batch_over_at_once(
    two: list[QueueServiceProcess], start_worker: StartWorker, files_dir: Path, tmp_path: Path
) -> None:
    going = tmp_path / "going"
    worker = "handler:tests.queue_service.web.batches.handlers:Obedient"
    await start_worker(two[1].url, engine=worker)
    async with batches_of(two[0].url) as batches:
        made = await batches.submit([line("first", "hello"), line("second", f"wait {going}")])
        await _reach(batches, made, 1)
    await two[0].stop()
    going.touch()
    async with batches_of(two[1].url) as batches:
        ended = await batches.end(made)
        assert names(await batches.read(ended.output_file_id)) == ["first", "second"]
        await batches.delete_files()


async def test_a_deleted_service_ends_the_batch_with_what_it_has(
    two: list[QueueServiceProcess], start_worker: StartWorker
) -> None:
    service = two[1]
    async with batches_of(service.url) as batches:
        await batches.admin("PUT", "/v1/services/late", json={"token": "another-token"})
        await start_worker(service.url, "late", token="another-token", engine="echo")
        async with batches_of(service.url, "another-token") as of_late:
            wanted = [line(str(number), "x", model="late") for number in range(3000)]
            made = await of_late.submit(wanted)
            await _reach(of_late, made, 1)
        everybody = await batches.make_token("submit", "read", "all")
        await batches.admin("DELETE", "/v1/services/late")
        async with batches_of(service.url, everybody) as seen:
            ended = await seen.end(made)
            assert ended.status == "failed"
            assert ended.errors is not None
            assert ended.errors.data is not None
            assert [error.code for error in ended.errors.data] == ["model_not_found"]
            answers = [json.dumps(one) for one in await seen.read(ended.output_file_id)]
            assert len(set(answers)) == len(answers) > 0
            for file_id in (ended.input_file_id, ended.output_file_id, ended.error_file_id):
                if file_id:
                    await seen.client.files.delete(file_id)


async def test_a_batch_that_is_canceled_after_a_kill_leaves_no_job(
    two: list[QueueServiceProcess], start_worker: StartWorker, tmp_path: Path
) -> None:
    """The jobs that the killed process has submitted end, and what is done keeps its answer."""
    going = tmp_path / "going"
    worker = "handler:tests.queue_service.web.batches.handlers:Patient"
    await start_worker(two[1].url, engine=worker, window=64)
    wanted = [*lines(20), *(line(f"held-{n}", f"wait {going}") for n in range(40))]
    async with batches_of(two[0].url) as batches:
        made = await batches.submit(wanted)
        await _reach(batches, made, 20)
    two[0].kill()
    async with batches_of(two[1].url) as batches:
        await batches.client.batches.cancel(made.id)
        ended = await batches.end(made, 120)
        assert ended.status == "cancelled"
        answers = await batches.read(ended.output_file_id)
        errors = await batches.read(ended.error_file_id)
        assert names(answers) == names(lines(20))
        assert names(answers + errors) == names(wanted)
        await batches.delete_files()
