"""Tokens per second through the queue, as a ratio to the same engine alone in the same run.

    nice python -m tests.benchmarks.bench_generation_queue [--rounds 4] [--waves 2]

The model and the mix of requests are those of bench_generation, with one torch thread.  Each of 16
clients has one job after the other; `waves` is how many.  They take turns:

    alone             the engine in a process of its own, which this process drives by the pipe
    through the queue the clients put over HTTP into the input queue; a worker process with the
                      same engine is handed the jobs; one watch on the sink tells the results
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from inference_worker.engines.engine import Context, Engine
from inference_worker.engines.load import EngineSpec
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.benchmarks.bench_generation import (
    REQUESTS,
    Answers,
    Wish,
    answer_of,
    body_of,
    save_model,
    wishes,
)
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess, service_env, worker_env

OPTIONS: dict[str, object] = {
    "device": "cpu",
    "torch_threads": 1,
    "max_tokens_in_batch": REQUESTS * 512,
}

#: Jobs of each client in a round: about 5,000 new tokens, so that the start and the end of a round,
#: where the batch is small, weigh little.
WAVES = 2

Way = Callable[[list[list[Wish]]], Awaitable[Answers]]


def lists_of_wishes(waves: int) -> list[list[Wish]]:
    """Return what each client wants, one after the other: together each wave is the whole mix."""
    mix = wishes()
    return [
        [mix[(client + wave) % REQUESTS] for wave in range(waves)] for client in range(REQUESTS)
    ]


async def alone(engine: Engine, wanted: list[list[Wish]]) -> Answers:
    """Let the clients ask the engine itself."""

    async def client(own: list[Wish]) -> Answers:
        return [await answer_of(engine, wish) for wish in own]

    return _flat(await asyncio.gather(*map(client, wanted)))


async def through_queue(queue: AsyncQueueClient, wanted: list[list[Wish]]) -> Answers:
    """Let the clients put their jobs, and hear of the results by one watch."""
    loop = asyncio.get_running_loop()
    arrived: dict[str, asyncio.Future[bytes]] = {}

    def arrival(request_id: str) -> "asyncio.Future[bytes]":
        # The result may come before the answer to the put does.
        return arrived.setdefault(request_id, loop.create_future())

    async def collect() -> None:
        async for frame in queue.sink.watch(window=REQUESTS, auto_commit=True):
            arrival(frame.tags[names.REQUEST_ID_TAG]).set_result(frame.data)

    async def client(own: list[Wish]) -> Answers:
        answers = []
        for wish in own:
            receipt = await queue.put(body_of(wish))
            answers.append(json.loads(await arrival(receipt.request_id))["token_ids"])
        return answers

    collecting = asyncio.create_task(collect())
    try:
        return _flat(await asyncio.gather(*map(client, wanted)))
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


def _flat(of_clients: list[Answers]) -> Answers:
    return [answer for answers in of_clients for answer in answers]


async def compare(ways: dict[str, Way], *, rounds: int, waves: int) -> None:
    """Let the ways take turns, and print the table."""
    wanted = lists_of_wishes(waves)
    new_tokens = sum(wish.new_tokens for own in wanted for wish in own)
    for go in ways.values():
        # A whole wave, because the first steps with each shape of batch and cache are slower.
        await go([own[:1] for own in wanted])
    expected: Answers | None = None
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    print(f"{REQUESTS} clients, {waves} jobs each, {new_tokens} new tokens, 1 torch thread")
    print(
        f"{'round':>5}" + "".join(f" {way + ', tokens/s':>28}" for way in ways) + f" {'ratio':>6}"
    )
    for number in range(1, rounds + 1):
        # The first of one round is the last of the next, so a drift favours none.
        for way in list(ways)[:: 1 if number % 2 else -1]:
            began = time.perf_counter()
            answers = await ways[way](wanted)
            speeds[way].append(new_tokens / (time.perf_counter() - began))
            expected = expected or answers
            same = sum(a == b for a, b in zip(answers, expected, strict=True))
            if same < len(expected):
                print(f"{way}: only {same} of {len(expected)} answers are those of the first time")
        base, ours = (speeds[way][-1] for way in ways)
        print(f"{number:>5} {base:>28.1f} {ours:>28.1f} {ours / base:>6.3f}")
    base, ours = (statistics.median(speeds[way]) for way in ways)
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    print(
        f"generation through the queue: {ours:.1f} tokens/s, {statistics.median(ratios):.3f} of "
        f"the engine alone with {base:.1f} (medians)"
    )


async def measure(rounds: int, waves: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        save_model(model)
        spec = EngineSpec(f"transformers:{model}", OPTIONS, REQUESTS)
        engine = EngineProcess(spec, logs=LogSettings("WARNING"))
        redis = RedisServer(Path(folder) / "redis")
        await redis.start()
        service = QueueServiceProcess(
            service_env(redis_url=redis.url, key_prefix="bench", services=[{"name": "svc"}]),
            log_path=Path(folder) / "service.log",
        )
        worker = WorkerProcess(
            worker_env(
                queue_url=service.url,
                service="svc",
                engine=spec.name,
                engine_options=OPTIONS,
                worker_threads=REQUESTS,
            ),
            log_path=Path(folder) / "worker.log",
        )
        try:
            await service.start()
            await worker.start()
            await engine.start(Context())
            async with AsyncQueueClient(service.url, "svc", token=TOKEN) as queue:
                ways: dict[str, Way] = {
                    "alone": lambda wanted: alone(engine, wanted),
                    "through the queue": lambda wanted: through_queue(queue, wanted),
                }
                await compare(ways, rounds=rounds, waves=waves)
        finally:
            await engine.stop(5.0)
            worker.kill_all()
            service.kill_all()
            await redis.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    # Even, so that each way goes first equally often.
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--waves", type=int, default=WAVES)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.rounds, arguments.waves))
