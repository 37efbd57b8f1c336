"""Sends Calls over one HTTP session, and repeats them if that is safe."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.calls import Answer, Call, Retry
from client_sdk.certificates import trusted
from client_sdk.content import Content
from client_sdk.refusals import from_answer
from client_sdk.replicas import Replicas, is_about_replica
from client_sdk.token_header import token_header
from client_sdk.unreachable import failed_connection, why
from client_sdk.wire import names
from client_sdk.wire.errors import WireError

T = TypeVar("T")

#: Bodies above this size, in bytes, are written piece by piece, so that one large put does not
#: block the event loop.
LARGE_BODY_BYTES = 1024 * 1024
#: The time of a content that is sent in pieces is limited by the content itself.
_IN_PIECES = aiohttp.ClientTimeout(total=None, sock_connect=30.0)

#: What a path is below: the queues of the service, its jobs, the files, the batches, or only the
#: address.
Under = Literal["queues", "jobs", "files", "batches", "root"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is repeated after a transient failure, and after which pauses.

    retries: the number of repetitions; 0 for none.
    first_delay_s, most_delay_s: the longest first pause, and the longest of all, in seconds.
    when_full: whether to repeat after QueueFull too.
    """

    retries: int = 6
    first_delay_s: float = 0.1
    most_delay_s: float = 5.0
    when_full: bool = False

    def backoff(self) -> Backoff:
        return Backoff(self.first_delay_s, self.most_delay_s)


class Transport:
    """The HTTP session that both queues of one service share.

    The first call opens the session, because before it there may be no event loop.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        token: str,
        uid: str,
        gid: str,
        timeout_s: float,
        connections: int,
        retry: RetryPolicy,
        ca_file: str = "",
    ) -> None:
        self.uid = uid or str(uuid.uuid4())
        self.gid = gid
        self.retry = retry
        self.timeout_s = timeout_s
        self.replicas = Replicas(url)
        self._path = f"{names.EAS_PREFIX}/{quote(service, safe='')}"
        self.jobs_path = names.JOBS_PATH.format(service=quote(service, safe=""))
        self._bases = {
            "jobs": self.jobs_path,
            "files": names.FILES_PATH,
            "batches": names.BATCHES_PATH,
            "root": "",
        }
        self._headers = {names.USER_HEADER: self.uid, names.GROUP_HEADER: gid}
        self._headers |= token_header(token, url)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.connections = connections
        self._ssl = trusted(ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._bare_session: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def base_url(self) -> str:
        """The URL of the service's input queue at the current replica."""
        return self.replicas.current + self._path

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session; raises Closed after `close`."""
        if self._session is None:
            if self._closed:
                raise errors.Closed("this client was closed", url=self.base_url)
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=self.connections, ssl=self._ssl),
                # The protocol has no cookies, and the default jar costs time at every request.
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections; running calls fail.  A second call does nothing."""
        self._closed = True
        sessions = self._session, self._bare_session
        self._session = self._bare_session = None
        for session in sessions:
            if session is not None:
                await session.close()

    @property
    def session_without_token(self) -> aiohttp.ClientSession:
        """A session for other servers: it sends nothing of this client's."""
        if self._bare_session is None:
            if self._closed:
                raise errors.Closed("this client was closed", url=self.base_url)
            self._bare_session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.connections, ssl=self._ssl),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._bare_session

    async def send(self, queue: str, call: Call[T], *, under: Under = "queues") -> T:
        """Send a call and return its parsed response.

        queue: the path below `self.base_url`, or below what `under` names.

        Raises the QueueError of the last attempt.
        """
        backoff: Backoff | None = None
        untried = len(self.replicas) - 1
        while True:
            replica = self.replicas.current
            try:
                base = self.base_url
                if under != "queues":
                    base = replica + self._bases[under]
                return await self._send_once(f"{base}{queue}", call)
            except errors.QueueError as error:
                elsewhere = is_about_replica(error)
                if elsewhere:
                    self.replicas.pass_over(replica)
                backoff = backoff or self.retry.backoff()
                if backoff.tries >= self.retry.retries or not may_repeat(error, self.retry):
                    raise
                if isinstance(call.body, Content) and not call.body.can_be_sent:
                    raise
            if elsewhere and untried:
                untried -= 1
            else:
                await asyncio.sleep(backoff.next_delay_s())

    async def _send_once(self, queue: str, call: Call[T]) -> T:
        url = f"{queue}{call.path}"
        target = URL(f"{url}?{call.query}" if call.query else url, encoded=True)
        body = call.body
        try:
            if isinstance(body, Content):
                async with body.sending(self.timeout_s + call.wait_s) as pieces:
                    headers = {**call.headers, **body.headers}
                    answer = await self._ask(call, target, pieces, headers, _IN_PIECES)
            else:
                data = io.BytesIO(body) if body and len(body) > LARGE_BODY_BYTES else body
                answer = await self._ask(call, target, data, call.headers, self._timeout_of(call))
        except (aiohttp.ClientError, OSError, _Cut) as error:
            if isinstance(body, Content) and body.failure is not None:
                raise body.failure from None
            raise _failed(call, error, url) from error
        if answer.status not in call.passes:
            raise _refused(call, answer, url)
        try:
            return call.parse(answer)
        except WireError as error:
            raise errors.BadMessage(str(error), status=answer.status, url=url) from error

    async def _ask(
        self,
        call: Call[T],
        target: URL,
        data: bytes | io.BytesIO | AsyncIterator[bytes] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> Answer:
        async with self.session.request(
            call.method,
            target,
            data=data,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            middlewares=(_only_once,),
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def _timeout_of(self, call: Call[T]) -> aiohttp.ClientTimeout:
        if not call.wait_s:
            return self._timeout
        return aiohttp.ClientTimeout(total=self.timeout_s + call.wait_s)


def may_repeat(error: errors.QueueError, policy: RetryPolicy) -> bool:
    """Return whether a call that failed with this error may be sent again."""
    if isinstance(error, errors.AnswerLost | errors.ServerFault):
        return False
    if isinstance(error, errors.QueueFull):
        return policy.when_full
    return error.transient


class _Cut(Exception):
    """The connection ended after the request was sent."""


async def _only_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp itself sends a GET, PUT or DELETE a second time if a keep-alive connection ends before
    # the response.  Only the policy may decide on retries: otherwise a put that was stored could be
    # reported as refused, if its token ended in between.  aiohttp repeats only after these two
    # errors, so they are replaced by a third.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Cut(str(error)) from error


def _failed(call: Call[T], error: Exception, url: str) -> errors.QueueError:
    """Return the exception for a call without a response."""
    sentence = why(error) or f"no response to {call.verb} in time"
    if isinstance(error, aiohttp.InvalidURL):
        return errors.BadParameter(f"expected the URL of a service: {error}", url=url)
    never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    if call.retry is Retry.IF_NOT_DONE and not never_sent:
        return errors.AnswerLost(f"{call.verb} may have been executed: {sentence}", url=url)
    return failed_connection(error, sentence, url=url)


def _refused(call: Call[T], answer: Answer, url: str) -> errors.QueueError:
    """Return the exception for a response with an error status."""
    error = from_answer(answer.status, answer.headers, answer.body, url=url)
    if answer.status in {502, 504} and call.retry is Retry.IF_NOT_DONE:
        # A gateway that lost the service's response cannot know whether the service executed it.
        return errors.AnswerLost(error.sentence, status=answer.status, url=url)
    return error
