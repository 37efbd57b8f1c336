"""`penstock chat`: a conversation with a service, in a terminal or line by line from a pipe.

Each question is a job that contains the whole conversation, as on the chat page.  The command
uses the jobs API rather than the OpenAI API: an answer then continues after a restart of the
queue service, a waiting question shows its position, and a cancellation reports its outcome.

Exit codes: 0 you ended it; 1 refused, or a question from a pipe got no answer; 2 the command line
is wrong; 4 no queue service answered; 130 Ctrl-C.
"""

import asyncio
import contextlib
import importlib
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.text import Text

from client_sdk.errors import (
    ConnectionFailed,
    FrameTooBig,
    Gone,
    NoResult,
    NoSuchService,
    NotFound,
    QueueFull,
    Unavailable,
)
from client_sdk.plain_text import harmless
from deploy.admin import AdminApi
from deploy.commands.conversation import Conversation
from deploy.commands.explained import Asked
from deploy.commands.options import Data, Token, Url
from deploy.commands.printing import note, note_console, write_text
from deploy.commands.session import exit_codes, open_client
from deploy.errors import ServiceUnnamed
from deploy.exit_codes import FAILED, INTERRUPTED
from deploy.local.data_dir import DEFAULT_PATH, DataDir

#: What you type to end the conversation, or to start a new one.
EXIT, NEW = "/exit", "/new"
PROMPT = "> "
_AWAY = (ConnectionFailed, Unavailable)


def chat(
    service: Annotated[
        str, typer.Argument(help="The service's name; by default the only one there is.")
    ] = "",
    *,
    system: Annotated[str, typer.Option(help="The system prompt.")] = "",
    model: Annotated[
        str, typer.Option(help="The model's name at the server; by default the service's name.")
    ] = "",
    temperature: Annotated[float | None, typer.Option(min=0, help="0 is the likeliest.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Talk to a service: Ctrl-C stops an answer; /exit, Ctrl-D or Ctrl-C at the prompt ends it."""
    options = {"model": model or None, "temperature": temperature, "max_tokens": max_tokens}
    given = {name: value for name, value in options.items() if value is not None}
    # One loop for all questions: connections stay open, and asyncio.Runner turns Ctrl-C into a
    # cancellation of the running question.
    with exit_codes(Asked(service, url, token, data_dir)), asyncio.Runner() as runner:
        name = service or runner.run(_only_service(url, token, data_dir))
        client = open_client(name, url, token, data_dir)
        conversation = Conversation(client, name, system=system, options=given)
        try:
            code = (_typed if sys.stdin.isatty() else _piped)(conversation, runner)
        finally:
            runner.run(client.close())
    if code:
        raise typer.Exit(code)


async def _only_service(url: str, token: str, data_dir: Path) -> str:
    """Return the only service that the token opens; raises ServiceUnnamed unless there is one."""
    if not url:
        running = DataDir(data_dir).running()
        url, token = running.url, token or running.token
    listed = await AdminApi(url, token).ask_async("GET", "/v1/models")
    names = [str(model["id"]) for model in listed["data"]]
    if len(names) != 1:
        raise ServiceUnnamed(names)
    return names[0]


def _typed(conversation: Conversation, runner: asyncio.Runner) -> int:
    """Talk to a person; return the exit code."""
    note(f"{conversation.service}: {EXIT} or Ctrl-D ends, {NEW} starts over, Ctrl-C stops")
    while True:
        try:
            question = _read_question()
        except EOFError:
            note("")
            return 0
        except KeyboardInterrupt:
            note("")
            return INTERRUPTED
        match question.strip():
            case "":
                continue
            case command if command == EXIT:
                return 0
            case command if command == NEW:
                conversation.restart()
                continue
        try:
            runner.run(_answer(conversation, question))
        except KeyboardInterrupt:
            note("interrupted; the job may still run")
            return INTERRUPTED
        except (QueueFull, FrameTooBig, NoResult, Gone, NotFound, *_AWAY) as error:
            if isinstance(error, NoSuchService):
                raise
            note(f"no answer: {error.sentence}")
            if isinstance(error, FrameTooBig):
                note(f"the conversation is too long for the service; {NEW} starts a new one")


def _piped(conversation: Conversation, runner: asyncio.Runner) -> int:
    """Answer each line of a pipe; return the exit code."""
    code = 0
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            if not runner.run(_answer(conversation, line.strip())):
                return INTERRUPTED
        except (NoResult, Gone, FrameTooBig) as error:
            note(f"no answer: {error.sentence}")
            code = FAILED
    return code


def _read_question() -> str:
    if sys.stdout.isatty():
        # Importing it gives `input` line editing and history; some builds of Python lack it.
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")
        return input(PROMPT)
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line


async def _answer(conversation: Conversation, question: str) -> bool:
    """Ask, and show the answer as it grows; return False if it was stopped."""
    with _AnswerView() as view:
        stopped = await conversation.ask(question.encode(errors="replace").decode(), view)
    if view.wrote:
        write_text("\n")
    if stopped:
        note(f"[stopped: {stopped}]")
    return not stopped


class _AnswerView:
    """Shows an answer: its text on standard output; on a terminal also the job's position."""

    def __init__(self) -> None:
        console = note_console()
        self._status = console.status("") if console.is_terminal else None
        self.wrote = False

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def state(self, sentence: str) -> None:
        if self._status is not None and not self.wrote:
            self._status.update(Text(harmless(sentence)))

    def trouble(self, sentence: str) -> None:
        if self._status is None or self.wrote:
            note(f"[{sentence}]")
        else:
            self.state(sentence)

    def piece(self, text: str) -> None:
        if self._status is not None:
            # The status line would be drawn over the text.
            self._status.stop()
        self.wrote = True
        write_text(text)

    def restart(self, text: str) -> None:
        note("\n[the worker was lost; another one starts the answer again]")
        self.piece(text)
