"""A conversation with a service: its messages, and the next answer."""

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

#: The path that OpenAI's clients use; an engine that is an HTTP server receives it.
CHAT_PATH = "v1/chat/completions"


class Conversation:
    """The messages so far, without questions that got no answer."""

    def __init__(
        self,
        client: AsyncQueueClient,
        service: str,
        *,
        system: str = "",
        options: Mapping[str, Any],
    ) -> None:
        """options: other fields of the request, by their names in OpenAI's API."""
        self.service = service
        self._client = client
        self._options = options
        self._system = [{"role": "system", "content": system}] if system else []
        self._said: list[dict[str, str]] = []

    def restart(self) -> None:
        """Forget all messages."""
        self._said = []

    async def ask(self, question: str, shown: Shown) -> str:
        """Ask, show the answer as it grows, and remember both.

        Returns "", or, when the task was cancelled, how the job was stopped; the text up to then
        is remembered.  Raises a QueueError when there is no answer.
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
            # You have not seen the whole answer, so the service keeps the result.
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
    """The text of an answer; passes each piece on to what shows it."""

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

    def restart(self, text: str) -> None:
        self.text = text
        self._shown.restart(text)

    def end(self, whole: str) -> None:
        """Show the part of the result that no piece has shown."""
        # If the pieces are not the beginning of the result, keep what you have read.
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
        # The echo engine returns the conversation.
        ("messages", -1, "content"),
    ):
        found = made
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in path:
                found = found[step]
            if isinstance(found, str):
                return found
    return result
