"""A large batch: how long it takes, whether each line is answered once, the memory of a replica.

    python -m tests.benchmarks.bench_batch [--lines 50000] [--kills 6] [--openai .openai2]

Two replicas and two echo workers run the batch; OpenAI's client makes it, waits for it and reads
the answers.  Each kill ends a replica, a worker and the client with SIGKILL, and starts them again.
--openai: a folder with another version of the client, as `make openai2` installs it.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk import AsyncQueueClient, BatchInfo
from client_sdk.errors import QueueError
from deploy.local.redis_server import RedisServer
from tests.running import (
    TOKEN,
    QueueServiceProcess,
    ServerProcess,
    WorkerProcess,
    service_env,
    worker_env,
)
from tests.waiting import wait_until

CLIENT = "tests.queue_service.web.batches.openai_client"
WINDOW = 64
#: The time between two looks at the batch, and how long it may take, in seconds.
LOOK_S, LONGEST_S = 0.5, 7200.0


@dataclass
class Client:
    """The process of OpenAI's client, started again after each kill."""

    words: list[str]
    folder: str
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        path = os.pathsep.join(filter(None, (self.folder, os.getcwd())))
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", CLIENT, *self.words),
            env={**os.environ, "PYTHONPATH": path},
            stdout=asyncio.subprocess.PIPE,
        )

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def outcome(self) -> dict[str, object]:
        assert self.process is not None
        out, _ = await self.process.communicate()
        return dict(json.loads(out))


@dataclass
class Bench:
    """The processes, and what was seen of them."""

    services: list[QueueServiceProcess]
    workers: list[WorkerProcess]
    client: Client
    lines: int
    kills: int
    killed: int = 0
    memory_kib: dict[int, list[int]] = field(default_factory=dict)

    async def run(self) -> float:
        """Run the batch to its end; return the seconds."""
        begun = time.monotonic()
        await self.client.start()
        async with AsyncQueueClient(
            ",".join(one.url for one in self.services), "svc", token=TOKEN
        ) as watching:

            async def ended() -> bool:
                now = await _newest(watching)
                done = now.completed if now else 0
                if self.killed < self.kills and done >= self._next_kill:
                    await self._kill()
                self._note_memory()
                return now is not None and now.has_ended

            await wait_until(ended, "the batch has ended", LONGEST_S, interval_s=LOOK_S)
        return time.monotonic() - begun

    @property
    def _next_kill(self) -> int:
        """How many lines are done when the next kill comes; the first one hits the upload."""
        return self.killed * self.lines // (self.kills + 1)

    async def _kill(self) -> None:
        await self.client.kill()
        victims: tuple[ServerProcess, ...] = (
            self.services[self.killed % 2],
            self.workers[self.killed // 2 % 2],
        )
        for victim in victims:
            victim.kill()
        for victim in victims:
            await victim.start()
        self.killed += 1
        await self.client.start()

    def _note_memory(self) -> None:
        for service in self.services:
            self.memory_kib.setdefault(service.pid, []).append(_resident_kib(service.pid))


async def _newest(client: AsyncQueueClient) -> BatchInfo | None:
    try:
        async for batch in client.batches.list():
            return batch
    except QueueError:
        pass
    return None


def _resident_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def write_lines(path: Path, count: int) -> None:
    """Write the lines of a batch of chats."""
    begin = {"method": "POST", "url": "/v1/chat/completions"}
    with path.open("w") as file:
        for number in range(count):
            body = {"model": "svc", "messages": [{"role": "user", "content": f"text {number}"}]}
            file.write(json.dumps({"custom_id": f"line-{number}", **begin, "body": body}) + "\n")


def wrong_in(path: Path, count: int) -> dict[str, int]:
    """Say how many lines are missing, are there twice, or have another line's answer."""
    seen: Counter[str] = Counter()
    mixed = 0
    with path.open() as file:
        for text in file:
            line = json.loads(text)
            seen[line["custom_id"]] += 1
            content = line["response"]["body"]["choices"][0]["message"]["content"]
            mixed += content != f"text {line['custom_id'].removeprefix('line-')}"
    missing = sum(f"line-{number}" not in seen for number in range(count))
    return {"missing": missing, "twice": len([1 for n in seen.values() if n > 1]), "mixed": mixed}


async def measure(lines: int, kills: int, openai: str) -> None:
    """Run one batch and print what came of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lines(folder / "lines.jsonl", lines)
        server = RedisServer(folder / "redis", appendfsync="no")
        await server.start()
        services = [
            QueueServiceProcess(
                service_env(
                    redis_url=server.url,
                    key_prefix="bench",
                    services=[{"name": "svc"}],
                    durability="memory",
                    files_dir=str(folder / "files"),
                    files_reserve_mb=0,
                ),
                log_path=folder / f"service-{number}.log",
            )
            for number in range(2)
        ]
        workers = [
            WorkerProcess(
                worker_env(queue_url=one.url, service="svc", worker_threads=WINDOW),
                log_path=folder / f"worker-{number}.log",
            )
            for number, one in enumerate(services)
        ]
        words = [services[1].url, TOKEN, str(folder / "lines.jsonl"), str(folder / "out"), "bench"]
        bench = Bench(services, workers, Client(words, openai), lines, kills)
        try:
            for process in (*services, *workers):
                await process.start()
            seconds = await bench.run()
            await report(bench, folder / "out", seconds)
        finally:
            await bench.client.kill()
            for process in (*workers, *services):
                process.kill_all()
            await server.stop()


async def report(bench: Bench, out: Path, seconds: float) -> None:
    """Print what came of a run."""
    outcome = await bench.client.outcome()
    print(f"{outcome}, after {bench.killed} kills of replica, worker and client")
    print(f"{seconds:.1f} s, {bench.lines / seconds:,.0f} lines a second")
    print(f"wrong: {wrong_in(out, bench.lines)}")
    print("MiB of each replica in the course of the run, and at most:")
    for pid, sizes in bench.memory_kib.items():
        marks = [sizes[len(sizes) * part // 4] for part in range(4)] + [sizes[-1]]
        told = ", ".join(f"{kib / 1024:.0f}" for kib in marks)
        print(f"process {pid}: {told}; {max(sizes) // 1024}")
    left = await _entries_left(bench.services[0].url)
    print(f"entries left in the queues: {left}")


async def _entries_left(url: str) -> int:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        return await client.count() + await client.sink.count()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--openai", default="")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.lines, arguments.kills, arguments.openai))
