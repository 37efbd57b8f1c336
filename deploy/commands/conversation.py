"""A conversation with a service: what was said, and the next answer to it."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from client_sdk import AsyncQueueClient
from client_sdk.errors import QueueError
from client_sdk.wire import names
from deploy.commands.job_following import Shown, cancel, follow
from deploy.errors import CannotPrint

#: Where OpenAI's clients put a conversation: what an engine that is an HTTP server replays.
CHAT_PATH = "v1/chat/completions"


class Conversation:
    """What was said so far; a question that got no answer was never said."""

    def __init__(
        self,
        client: AsyncQueueClient,
        service: str,
        *,
        system: str = "",
        options: Mapping[str, Any],
    ) -> None:
        """options: beside the messages, by their names in OpenAI's API."""
        self.service = service
        self._client = client
        self._options = options
        self._system = [{"role": "system", "content": system}] if system else []
        self._said: list[dict[str, str]] = []

    def begin_anew(self) -> None:
        """Forget what was said."""
        self._said = []

    async def ask(self, question: str, shown: Shown) -> str:
        """Ask, tell the answer as it grows, and remember both.

        Returns "", or how it was stopped when the task was cancelled: what came by then is
        remembered.  Raises a QueueError when there is no answer.
        """
        asked = [*self._said, {"role": "user", "content": question}]
        messages = [*self._system, *asked]
        body = {"model": self.service, "messages": messages, "stream": True, **self._options}
        job_id = f"chat-{uuid.uuid4()}"
        answer = _Answer(shown)
        stopped = ""
        try:
            await self._client.jobs.submit(
                json.dumps(body), job_id=job_id, path=CHAT_PATH, content_type=names.JSON
            )
            await follow(self._client, job_id, answer)
            result = await self._client.jobs.result(job_id)
            answer.end(text_of(result.decode(errors="replace")))
        except asyncio.CancelledError:
            stopped = await cancel(self._client, job_id)
        except CannotPrint:
            # Its answer was not read to the end, so it stays in the service for its time.
            raise
        except BaseException:
            await self._forget(job_id)
            raise
        await self._forget(job_id)
        if answer.text or not stopped:
            self._said = [*asked, {"role": "assistant", "content": answer.text}]
        return stopped

    async def _forget(self, job_id: str) -> None:
        with contextlib.suppress(QueueError):
            await self._client.jobs.delete(job_id)


class _Answer:
    """The text of an answer, told on to whoever shows it."""

    def __init__(self, shown: Shown) -> None:
        self.text = ""
        self._shown = shown

    def state(self, sentence: str) -> None:
        self._shown.state(sentence)

    def trouble(self, sentence: str) -> None:
        self._shown.trouble(sentence)

    def piece(self, text: str) -> None:
        self.text += text
        self._shown.piece(text)

    def anew(self, text: str) -> None:
        self.text = text
        self._shown.anew(text)

    def end(self, whole: str) -> None:
        """Tell what of the result was not told in pieces."""
        # When the engine's pieces were no parts of its result, what was read counts.
        if whole.startswith(self.text) and (rest := whole[len(self.text) :]):
            self.piece(rest)


def text_of(result: str) -> str:
    """Return the answer in a result: the text of our engines, of OpenAI's objects, or all of it."""
    try:
        made = json.loads(result)
    except (ValueError, RecursionError):
        return result
    if isinstance(made, str):
        return made
    for path in (
        ("text",),
        ("choices", 0, "message", "content"),
        ("choices", 0, "text"),
        # An engine that only echoes gives the conversation back.
        ("messages", -1, "content"),
    ):
        found = made
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in path:
                found = found[step]
            if isinstance(found, str):
                return found
    return result
