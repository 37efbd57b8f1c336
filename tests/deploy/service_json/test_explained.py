"""A refusal says what helps: the option that permits more, the name that was meant, a full disk."""

import asyncio

import pytest
from typer.testing import CliRunner

from client_sdk import AsyncQueueClient, NoSuchService
from deploy.cli import app
from deploy.commands.explained import alike
from queue_service.errors import StoreUnavailable
from tests.conftest import Serve
from tests.running import TOKEN


async def _refused(*words: str, url: str) -> str:
    where = ("--url", url, "--token", TOKEN)
    ended = await asyncio.to_thread(CliRunner().invoke, app, [*words, *where])
    assert ended.exit_code == 1, ended.output
    return ended.stderr


async def test_a_wrong_name_and_a_big_payload_say_what_helps(serve: Serve) -> None:
    url = await serve({"name": "sentiment"}, {"name": "chat"})
    for words in (("put", "sentimnet", "x"), ("queue", "attrs", "sentimnet"), ("run", "sentimnet")):
        more = ("x",) if words[0] == "run" else ()
        told = await _refused(*words, *more, url=url)
        # The service says it, so the command does not say it again.
        assert told.lower().count("did you mean") == 1, words
        assert "did you mean 'sentiment'?" in told, words
    assert "Services here: chat, sentiment." in await _refused("put", "zzz", "x", url=url)
    told = await _refused("put", "chat", "x" * 10_000, url=url)
    assert told.count("--max-payload-kb") == 1
    assert "PENSTOCK_MAX_PAYLOAD_KB" in told
    assert "max_payload_size_kb" in told


async def test_the_service_that_was_meant_is_data_on_every_api(serve: Serve) -> None:
    url = await serve({"name": "sentiment"})
    async with AsyncQueueClient(url, "sentimnet", token=TOKEN) as client:
        for call in (client.put(b"x"), client.jobs.submit(b"x")):
            with pytest.raises(NoSuchService) as refused:
                await call
            assert refused.value.fields["meant"] == "sentiment"
    async with AsyncQueueClient(url, "zzz", token=TOKEN) as client:
        with pytest.raises(NoSuchService) as refused:
            await client.put(b"x")
        assert "meant" not in refused.value.fields


def test_names_that_are_alike() -> None:
    assert alike("sentimnet", ["sentiment", "chat"]) == "Did you mean sentiment?"
    assert alike("zzz", ["b", "a"]) == "Services here: a, b."
    assert alike("zzz", []) == ""


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", "free space"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "raise it"),
        ("command not allowed when used memory > 'maxmemory'.", "raise it"),
        ("timeout", ""),
    ],
)
def test_a_redis_that_takes_no_writes_is_explained(reason: str, helps: str) -> None:
    said = str(StoreUnavailable("put", reason))
    assert reason in said
    assert helps in said
    assert said.endswith(f"({reason})") == (not helps)
