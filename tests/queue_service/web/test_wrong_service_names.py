"""A wrong name of a service: who has a token learns what was meant, strangers learn nothing."""

import aiohttp
import pytest

from client_sdk import AsyncQueueClient, NoSuchService
from client_sdk.work_check import check_welcome
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN

HINT = "there is no service 'sentimnet'; did you mean 'sentiment'?"
SERVICES = (
    {"name": "sentiment", "token": "token-a", "worker_token": "worker-a"},
    {"name": "sentinel", "token": "token-b", "worker_token": "worker-b"},
)
#: Every path that names a service, and its method.
PATHS = [
    ("POST", "/api/predict/sentimnet"),
    ("GET", "/api/predict/sentimnet/sink"),
    ("POST", "/v1/services/sentimnet/jobs"),
    ("GET", "/v1/services/sentimnet/jobs/x"),
    ("GET", "/v1/services/sentimnet/work"),
    ("GET", "/v1/models/sentimnet"),
]
OF_OPERATORS = [
    ("GET", "/v1/services/sentimnet"),
    ("DELETE", "/v1/services/sentimnet"),
    ("GET", "/v1/services/sentimnet/dead-letters"),
]


async def ask(url: str, method: str, path: str, token: str) -> tuple[int, str]:
    headers = {"Authorization": token} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url + path, data=b"x" if method == "POST" else None) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize(("method", "path"), [*PATHS, *OF_OPERATORS])
async def test_every_path_says_what_was_meant(serve: Serve, method: str, path: str) -> None:
    url = await serve(*SERVICES)
    is_operators = (method, path) in OF_OPERATORS
    status, told = await ask(url, method, path, ADMIN_TOKEN if is_operators else "token-a")
    assert (status, HINT in told) == (404, True), told


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_nobody_learns_of_services_that_his_token_does_not_open(
    serve: Serve, method: str, path: str
) -> None:
    url = await serve(*SERVICES)
    _, told = await ask(url, method, path, "token-b")
    assert "'sentiment'" not in told
    for token in ("", "wrong"):
        status, told = await ask(url, method, path, token)
        assert (status, "sentiment" in told, "sentinel" in told) == (401, False, False), told


async def test_chats_name_the_model_that_was_meant(serve: Serve) -> None:
    url = await serve(*SERVICES)
    body = {"model": "sentimnet", "messages": [{"role": "user", "content": "hello"}]}
    for token, is_told in (("token-a", True), ("token-b", False)):
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.post(f"{url}/v1/chat/completions", json=body) as answer,
        ):
            told = await answer.json()
            assert (answer.status, told["error"]["code"]) == (404, "model_not_found")
            assert (HINT in told["error"]["message"]) == is_told


async def test_the_sdk_and_the_worker_say_it(serve: Serve) -> None:
    url = await serve(*SERVICES)
    async with AsyncQueueClient(url, "sentimnet", token="token-a") as queue:
        with pytest.raises(NoSuchService, match="did you mean 'sentiment'"):
            await queue.put(b"x")
        with pytest.raises(NoSuchService, match="did you mean 'sentiment'"):
            await queue.jobs.submit(b"x")
    # The token of the service's workers opens it too.
    with pytest.raises(NoSuchService, match="did you mean 'sentiment'"):
        await check_welcome(url, "sentimnet", token="worker-a")
