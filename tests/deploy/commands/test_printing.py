"""What is printed: a result is removed only after that, and nothing steers a terminal."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import typer

from client_sdk import AsyncQueueClient
from client_sdk.errors import BadParameter, ConnectionFailed
from client_sdk.plain_text import harmless, one_line, safe_json, without_login
from client_sdk.replicas import service_address
from client_sdk.wire.worker import Completion, Delivery, Rejection, Result
from client_sdk.work import WorkConnection
from deploy.commands.options import read_secret
from deploy.commands.up.foreground import welcome
from deploy.errors import NoAnswer
from deploy.local.data_dir import Running
from deploy.local.mode import LocalOptions
from tests.conftest import StartService
from tests.deploy.terminal import Terminal
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess

#: An escape sequence, its form in one character, a bell, and a change of the text's direction.
STEERING = "\x1b[2J\x9b31m\x07\u202e"
#: Markup of rich, which is an error when it closes what was not opened.
MARKUP = "[/nope][red]x[/red] :smile:"


async def _shell(command: str, url: str, **settings: str) -> tuple[int, bytes, str]:
    """Run `penstock COMMAND` in a shell; return its exit code and what it printed."""
    where = {"PENSTOCK_URL": url, "PENSTOCK_TOKEN": TOKEN, "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN}
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m deploy.entry {command}",
        env={**os.environ, **where, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, told.decode()


@pytest.mark.parametrize(
    ("command", "where", "code"),
    [
        ("get svc --length 12", "> /dev/full", 1),
        ("get svc --length 12 --json", ">&-", 1),
        ("queue get svc/sink --length 12", "| true", 0),
    ],
    ids=["full disk", "closed", "reader left"],
)
async def test_a_result_that_could_not_be_printed_is_still_there(
    url: str, command: str, where: str, code: int
) -> None:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        # More than a pipe holds, so that a reader that has left is noticed.
        await asyncio.gather(*(client.sink.put(b"x" * 8000) for _ in range(12)))
        ended, _, told = await _shell(f"{command} {where}", url)
        assert ended == code, told
        assert "Traceback" not in told
        assert ("cannot write to standard output" in told) == bool(code)
        assert await client.sink.count() == 12
        await client.sink.truncate(13)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
async def test_text_is_printed_in_any_encoding_and_then_removed(url: str, encoding: str) -> None:
    text = "é → 日本 \U0001f600"
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        for command in ("get svc", "get svc --json", "queue get svc/sink"):
            await client.sink.put(text)
            code, out, told = await _shell(command, url, PYTHONIOENCODING=encoding)
            assert code == 0, told
            if "--json" in command:
                assert json.loads(out.decode(encoding))["data"] == text
            elif command == "get svc":
                assert out == text.encode(), "exactly its bytes"
            else:
                assert text.encode(encoding, "backslashreplace") in out
            assert await client.sink.count() == 0, command


@pytest.mark.leaves_entries
async def test_names_of_workers_are_no_markup_and_steer_no_terminal(url: str) -> None:
    engine = f"{MARKUP}{STEERING}"
    async with WorkConnection(url, "svc", token=TOKEN, window=1, engine=engine) as worker:
        async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
            await client.put(b"x")
        delivery = await anext(worker)
        assert isinstance(delivery, Delivery)
        for command in ("ls", "workers", "desc svc"):
            code, out, told = await _shell(command, url)
            assert code == 0, told
            assert not set(STEERING) & set(out.decode()) - set("[2J31m"), command
        _, out, _ = await _shell("ls --json", url)
        about = json.loads(out)[0]["input"]["subscribers"][0]["about"]
        assert about["engine"] == engine, "JSON is exact"
        assert not set("\x1b\x9b\x07\u202e") & set(out.decode())
        await worker.complete(Completion(delivery.index, 1, Result(b"done")))


async def test_dead_letters_are_no_markup_and_steer_no_terminal(
    start_service: StartService,
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 1, "dead_message_policy": "Park"})
    nasty = f"{MARKUP}{STEERING}\nfalse row"
    async with (
        WorkConnection(service.url, "svc", token=TOKEN, window=1) as worker,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(f"data {nasty}", tags={"t": "[/nope]"})
        delivery = await anext(worker)
        assert isinstance(delivery, Delivery)
        await worker.reject(Rejection(delivery.index, 1, "[/nope]", nasty))
        await client.sink.get(timeout_s=60)
    for command in ("dead ls svc", f"dead show svc {delivery.index}"):
        code, out, told = await _shell(command, service.url)
        assert code == 0, told
        shown = out.decode()
        assert "[/nope]" in shown
        table, _, data = shown.partition("data [")
        assert not set("\x1b\x9b\x07\u202e") & set(table)
        if data:
            assert f"data [{data}" == f"data {nasty}", "the data in a pipe is exact"
    terminal = Terminal(
        *("dead", "show", "svc", str(delivery.index), "--raw", "--url", service.url),
        *("--admin-token", ADMIN_TOKEN),
        token=TOKEN,
    )
    try:
        assert await terminal.end() == 0
        assert "\x1b[2J" not in terminal.shown
        assert f"data {MARKUP}" in terminal.shown
    finally:
        terminal.close()
    assert (await _shell("dead purge svc --all --yes", service.url))[0] == 0


async def test_a_result_on_a_terminal_is_harmless_and_a_job_error_too(
    service: QueueServiceProcess,
) -> None:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.sink.put(f"result {MARKUP}{STEERING}")
        await client.sink.put(
            f"error {MARKUP}{STEERING}", tags={"lastCode": "500", "errorCode": "Failed"}
        )
        for command in (("get", "svc"), ("queue", "get", "svc/sink")):
            terminal = Terminal(*command, "--url", service.url, token=TOKEN)
            try:
                await terminal.end()
                assert MARKUP in terminal.shown
                assert not set("\x9b\x07\u202e") & set(terminal.shown)
                assert "\x1b[2J" not in terminal.shown
            finally:
                terminal.close()
        assert await client.sink.count() == 0


async def test_a_token_that_could_not_be_printed_is_revoked(service: QueueServiceProcess) -> None:
    code, _, told = await _shell("tokens create lost --scope read > /dev/full", service.url)
    assert (code, "so it was revoked" in told) == (1, True), told
    _, out, _ = await _shell("tokens ls --json", service.url)
    assert [one["name"] for one in json.loads(out)] == []


def test_text_of_others_is_made_visible() -> None:
    assert harmless("a\tb\r\nc\x1b[1m\x7f\x9b\u202e\u2028\ud800") == (
        "a\tb\nc\u241b[1m\u2421" + 4 * "\ufffd"
    )
    assert one_line("a\nb\tc\r\x1b\x9b\u2028é") == r"a\nb\tc\r\x1b\x9b\u2028é"
    text = 'a\x1b\x7f\x9b\u202e\ud800é"\\'
    assert json.loads(safe_json(json.dumps(text, ensure_ascii=False))) == text


def test_a_token_is_read_from_a_file_and_is_in_no_hint(tmp_path: Path) -> None:
    file = tmp_path / "token"
    running = Running("http://127.0.0.1:1", "demo", "a-secret", "an-admin-secret", 1)
    for options, token in (
        (LocalOptions(data_dir=tmp_path), f"$(cat {file})"),
        (LocalOptions(data_dir=tmp_path, token="a-secret"), "$PENSTOCK_TOKEN"),
    ):
        lines = "\n".join(welcome(running, options, on_terminal=False))
        assert "a-secret" not in lines
        assert f'curl -H "Authorization: Bearer {token}" ' in lines
        assert "/v1/services/demo/jobs?wait=60s" in lines
    on_terminal = "\n".join(welcome(running, options, on_terminal=True))
    for page in ("/chat", "/try/demo"):
        assert f"http://127.0.0.1:1{page}#token=a-secret\n" in on_terminal

    assert f"console  http://127.0.0.1:1/   (with the token in {tmp_path}/admin-token)" in lines

    file.write_text("a-secret\n")
    assert read_secret(f"@{file}") == "a-secret"
    assert read_secret("plain") == "plain"
    for bad in ("@", f"@{tmp_path}", f"@{tmp_path}/none"):
        with pytest.raises(typer.BadParameter, match="expected a file with a token"):
            read_secret(bad)


def test_a_login_in_a_url_is_in_no_error() -> None:
    url = "http://ann:s3cret@127.0.0.1:9/"
    with pytest.raises(BadParameter) as refused:
        service_address(f"{url}?query")
    for error in (
        ConnectionFailed("it is away", url=url),
        NoAnswer(url, "it is away"),
        refused.value,
    ):
        assert "s3cret" not in str(error)
        assert "127.0.0.1" in str(error)
    assert without_login("redis://:p@ss@host:1/0") == "redis://host:1/0"
    assert without_login("http://host/a@b") == "http://host/a@b"
