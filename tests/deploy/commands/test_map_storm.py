"""`penstock map` over 5,000 inputs, while its client, its workers and the queue service are killed.

The kills follow from a seed, which a failing test prints; `PENSTOCK_TEST_SEED` gives it again.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, ServerProcess
from tests.waiting import let_pass, wait_until

INPUTS = 5000
#: How often each is killed.
KILLS = 4
#: Seconds that everything may take, on a busy machine.
PATIENCE_S = 240.0


@dataclass(frozen=True)
class Kill:
    """Who is killed when, and how many seconds pass until it is started again."""

    at_lines: int
    victim: str
    away_s: float


def kills_of(seed: int) -> list[Kill]:
    """What a seed describes."""
    chance = random.Random(seed)
    victims = ["client", "worker 0", "worker 1", "service"] * KILLS
    return sorted(
        (Kill(chance.randrange(50, 4900), victim, chance.uniform(0, 0.3)) for victim in victims),
        key=lambda kill: kill.at_lines,
    )


def value_of(number: int) -> object:
    """The input of a line: texts, of several lines too, and objects."""
    match number % 3:
        case 0:
            return f"text {number}\nand more, è {'x' * (number % 50)}"
        case 1:
            return {"number": number, "list": [number, None, "é"]}
        case _:
            return [number]


class Client:
    """The command, given again and again."""

    def __init__(self, folder: Path, url: str) -> None:
        self.inputs, self.outputs = folder / "in.jsonl", folder / "out.jsonl"
        self._log = folder / "client.log"
        self._command = [
            *(sys.executable, "-m", "deploy.cli", "map", "svc"),
            *(str(self.inputs), str(self.outputs), "--in-flight", "100"),
            *("--url", url, "--token", TOKEN),
        ]
        self.process = self._start()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = self._start()

    def lines(self) -> int:
        return self.outputs.read_bytes().count(b"\n") if self.outputs.exists() else 0

    def has_come_to(self, lines: int) -> bool:
        """Whether this number of lines is there; an end before that is a failure."""
        assert self.lines() >= lines or self.process.poll() is None, self.log
        return self.lines() >= lines


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.leaves_entries
async def test_a_map_of_5000_survives_sigkill_of_everybody_and_has_every_output_once(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    seed = int(os.environ.get("PENSTOCK_TEST_SEED") or random.randrange(2**32))
    print(f"PENSTOCK_TEST_SEED={seed}")
    service = await start_service(lease_ms=2000)
    options = {"delay_s": [0, 0.03]}
    workers: list[ServerProcess] = [
        await start_worker(service.url, engine_options=options, window=16) for _ in range(2)
    ]
    values = [value_of(number) for number in range(INPUTS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    client = Client(tmp_path, service.url)
    killed: Counter[str] = Counter()

    async def hurt(process: ServerProcess, away_s: float) -> None:
        process.kill_all()
        await let_pass(away_s)
        await process.start()

    try:
        for kill in kills_of(seed):
            await wait_until(
                partial(client.has_come_to, kill.at_lines),
                f"{kill.at_lines} lines are there",
                PATIENCE_S,
            )
            killed[kill.victim] += 1
            match kill.victim.split():
                case ["client"]:
                    client.kill()
                    await let_pass(kill.away_s)
                    client.start()
                case ["worker", number]:
                    await hurt(workers[int(number)], kill.away_s)
                case _:
                    await hurt(service, kill.away_s)
        await asyncio.to_thread(client.process.wait, PATIENCE_S)
    finally:
        client.kill()

    assert client.process.returncode == 0, client.log
    assert set(killed.values()) == {KILLS}
    lines = [json.loads(line) for line in client.outputs.read_text().split("\n")[:-1]]
    assert len(lines) == INPUTS
    assert {line["number"] for line in lines} == set(range(INPUTS))
    assert len({line["id"] for line in lines}) == INPUTS
    assert all(line["state"] == "succeeded" for line in lines), client.log
    assert all(line["output"] == values[line["number"]] for line in lines)
