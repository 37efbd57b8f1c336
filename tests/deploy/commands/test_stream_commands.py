"""`penstock queue ...`, also called `stream`: every operation of one queue, and its exit codes."""

import asyncio
import json
import sys
from typing import BinaryIO

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from tests.running import TOKEN, QueueServiceProcess


class Penstock:
    """The command line, spoken to a service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._ends = ("--url", url, "--token", TOKEN)

    async def start(self, *words: str, stdin: BinaryIO | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *words, *self._ends),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str) -> tuple[int, str]:
        """Return the exit code and what was printed where results go."""
        # In a thread: each command has an event loop of its own.
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *self._ends])
        return done.exit_code, done.stdout.rstrip("\n")

    async def queue(self, verb: str, *words: str) -> str:
        """Run a verb that must succeed."""
        code, out = await self.run("queue", verb, *words)
        assert code == 0, out
        return out

    async def json(self, verb: str, *words: str) -> dict[str, object]:
        found = json.loads(await self.queue(verb, *words, "--json"))
        assert isinstance(found, dict)
        return found


@pytest.fixture
def penstock(service: QueueServiceProcess) -> Penstock:
    return Penstock(service.url)


async def test_entries_are_put_counted_searched_and_read(penstock: Penstock) -> None:
    index, request_id = (await penstock.queue("put", "svc", "hello", "--tag", "k=v")).split("\t")
    second = await penstock.json("put", "svc", "first", "--priority", "1", "--request-id", "r1")
    assert second == {"index": int(index) + 1, "request_id": "r1"}
    assert await penstock.queue("count", "svc") == "2"
    assert await penstock.json("count", "svc", "--tag", "k=v") == {"count": 1}
    assert await penstock.queue("search", "svc", str(second["index"])) == "0 before it"
    assert await penstock.queue("search", "svc", index) == "1 before it", "it has priority"
    attributes = await penstock.json("attrs", "svc")
    assert attributes["stream.length"] == "2"
    assert "stream.length : 2" in (await penstock.queue("attrs", "svc")).splitlines()

    assert await penstock.queue("get", "svc", "--keep", "--index", "-1") == "2\tr1\tfirst"
    read = await penstock.json("get", "svc", "--tag", "k=v")
    assert (read["data"], read["request_id"]) == ("hello", request_id)
    assert await penstock.run("stream", "get", "svc", "--request-id", "none") == (3, "")
    code, _ = await penstock.run("queue", "truncate", "svc", "--all")
    assert code != 0, "nobody said --yes, and nobody can be asked"
    assert await penstock.queue("count", "svc") == "1"
    assert await penstock.queue("truncate", "svc", "--all", "--yes") == "1 entries removed"


async def test_a_watch_shows_a_line_for_each_frame_as_it_comes(penstock: Penstock) -> None:
    watch = await penstock.start("queue", "watch", "svc/sink", "--count", "2", "--json")
    assert watch.stdout is not None
    for text in ("a", "b"):
        await penstock.queue("put", "svc/sink", text)
        line = await asyncio.wait_for(watch.stdout.readline(), 30)
        assert json.loads(line)["data"] == text
    await watch.communicate()
    assert watch.returncode == 0
    assert await penstock.queue("count", "svc/sink") == "0"


async def test_entries_are_committed_given_back_deleted_and_dropped(penstock: Penstock) -> None:
    for text in ("a", "b", "c", "d"):
        await penstock.queue("put", "svc", text)
    assert await penstock.queue("commit", "svc", "1") == "OK"
    assert await penstock.queue("commit", "svc", "2", "--negative", "--code", "Shutdown") == "OK"
    assert await penstock.queue("delete", "svc", "2") == "OK"
    assert await penstock.json("truncate", "svc", "4", "--yes") == {"below": 4, "removed": 1}
    assert await penstock.queue("count", "svc") == "1"

    assert await penstock.queue("end", "svc", "--force", "--yes") == "OK"
    assert await penstock.run("queue", "put", "svc", "late") == (1, "")
    assert await penstock.queue("end", "svc", "--undo") == "OK"
    assert await penstock.queue("count", "svc") == "0"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("queue", "get", "svc/elsewhere"), 2),
        (("queue", "put", "svc"), 2),
        (("queue", "truncate", "svc"), 2),
        (("queue", "get", "nobody"), 1),
        (("queue", "search", "svc", "99"), 3),
    ],
)
async def test_an_exit_code_says_what_was_wrong(
    penstock: Penstock, words: tuple[str, ...], code: int
) -> None:
    assert await penstock.run(*words) == (code, "")
