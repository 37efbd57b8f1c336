"""Bad HTTP input costs nothing: a clear error, nothing stored, nobody else disturbed.

What is malformed below HTTP is in test_broken_requests.py, WebSockets are in
test_bad_messages.py.
"""

from dataclasses import KW_ONLY, dataclass, field

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.queue_service.conftest import Stored

pytestmark = pytest.mark.usefixtures("emptied", "neighbour")


STRANGER = {"Authorization": "somebody-else's-token"}
NOBODY = {"Authorization": ""}
#: A get of the input queue takes an entry only when it says so.
TAKE = {names.AUTO_DELETE: "true"}


@dataclass(frozen=True)
class Bad:
    """A request and the refusal that it gets: status, code, and what the sentence mentions."""

    method: str
    target: str
    status: int
    code: Code
    _: KW_ONLY
    says: tuple[str, ...] = ()
    size: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.size or ''}"


def _stranger(method: str, target: str, headers: dict[str, str]) -> Bad:
    return Bad(method, target, 401, Code.UNAUTHORIZED, says=("token",), headers=headers)


def _parameter(
    method: str, query: str, *, says: str = "", headers: dict[str, str] | None = None
) -> Bad:
    """Describe a request with one malformed parameter, the last of the query."""
    name, _, value = query.rpartition("&")[2].partition("=")
    return Bad(
        method,
        f"svc?{query}",
        400,
        Code.BAD_PARAMETER,
        says=(name, says or value),
        headers=headers or {},
    )


#: What makes a GET a WebSocket handshake.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}

REFUSALS = [
    _stranger("POST", "svc", STRANGER),
    _stranger("POST", "svc", NOBODY),
    _stranger("GET", "svc/sink", STRANGER),
    _stranger("GET", "svc?_attrs_=true", STRANGER),
    _stranger("DELETE", "svc?_index_=9&_trunc_=true", STRANGER),
    Bad("POST", "nobody", 404, Code.NO_SUCH_SERVICE, says=("nobody",)),
    Bad("GET", "nobody/sink", 404, Code.NO_SUCH_SERVICE, says=("nobody",)),
    Bad("POST", "svc", 413, Code.FRAME_TOO_BIG, says=("8193", "8192"), size=8193),
    Bad("POST", "tight/sink", 413, Code.FRAME_TOO_BIG, says=("1025", "1024"), size=1025),
    _parameter("PUT", "_indexes_=1,x,3", says="x"),
    _parameter("PUT", "_indexes_=-1"),
    _parameter("PUT", "_indexes_=1.5"),
    _parameter("PUT", "_indexes_="),
    _parameter("PUT", "_indexes_=99999999999999999999999"),
    Bad("PUT", "svc", 400, Code.BAD_PARAMETER, says=("_indexes_",)),
    _parameter("DELETE", "_indexes_=abc"),
    _parameter("DELETE", "_trunc_=true&_index_=abc"),
    Bad("DELETE", "svc?_trunc_=true", 400, Code.BAD_PARAMETER, says=("_index_",)),
    _parameter("GET", "_length_=-1"),
    _parameter("GET", "_length_=many"),
    _parameter("GET", "_index_=first"),
    _parameter("GET", "_index_=-2"),
    _parameter("GET", "_timeout_=soon"),
    _parameter("GET", "_timeout_=-5s"),
    _parameter("GET", "_search_=true&_index_=abc"),
    _parameter("POST", "_priority_=high"),
    _parameter("POST", "_priority_=-1"),
    _parameter("GET", "_watch_=true&_window_=abc", headers=UPGRADE),
    _parameter("GET", "_watch_=true&_window_=-1", headers=UPGRADE),
    _parameter("GET", "_watch_=true&_window_=0", headers=UPGRADE),
    _parameter("GET", "_watch_=true&_window_=1.5", headers=UPGRADE),
    _parameter("GET", "_watch_=true&_window_=10001", headers=UPGRADE),
    _parameter("GET", "_watch_=true&_window_=5&_index_=abc", headers=UPGRADE),
    Bad("GET", "../../nowhere", 404, Code.NOT_FOUND),
]


@pytest.mark.parametrize("bad", REFUSALS, ids=str)
async def test_bad_input_is_refused_with_a_clear_error_and_nothing_is_stored(
    session: aiohttp.ClientSession, eas: str, stored: Stored, bad: Bad
) -> None:
    before = await stored.keys()
    address = f"{eas}/{bad.target}"
    body = b"x" * bad.size or (b"payload" if bad.method == "POST" else None)
    async with session.request(bad.method, address, data=body, headers=bad.headers) as answer:
        sentence = await answer.text()
        assert answer.status == bad.status, sentence
        assert answer.headers[names.ERROR_CODE_HEADER] == bad.code
        for part in bad.says:
            assert part in sentence
        assert STRANGER["Authorization"] not in sentence
    assert await stored.gained(before) == {}


async def test_a_full_queue_refuses_and_keeps_what_it_has(
    session: aiohttp.ClientSession, eas: str
) -> None:
    address = f"{eas}/small"
    for data in (b"a", b"b"):
        async with session.post(address, data=data) as answer:
            assert answer.status == 200
    async with session.post(address, data=b"c") as answer:
        assert answer.status == 429
        assert answer.headers[names.ERROR_CODE_HEADER] == Code.QUEUE_FULL
        assert "Retry-After" not in answer.headers
        assert "2" in await answer.text()
    for data in (b"a", b"b"):
        async with session.get(address, params=TAKE) as answer:
            assert await answer.read() == data
    async with session.get(address) as answer:
        assert answer.status == 204


async def test_a_refused_client_can_go_on_with_the_same_connection(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    async with session.put(f"{eas}/svc?_indexes_=x") as answer:
        assert answer.status == 400
    async with session.post(f"{eas}/svc", data=b"good") as answer:
        assert answer.status == 200
    async with session.get(f"{eas}/svc", params=TAKE) as answer:
        assert await answer.read() == b"good"
    assert await stored.entries() == 0


@pytest.mark.parametrize("path", ["metrics", "v1/services"])
async def test_the_admin_api_needs_its_own_token(
    session: aiohttp.ClientSession, eas: str, path: str
) -> None:
    # The session sends the token of a service, which is right there and not enough here.
    address = f"{eas.removesuffix(names.EAS_PREFIX)}/{path}"
    async with session.get(address) as answer:
        assert answer.status in (401, 403)
        assert answer.headers[names.ERROR_CODE_HEADER] in (Code.UNAUTHORIZED, Code.FORBIDDEN)
