"""What no request can carry is refused before the first one, in words."""

import pytest

from client_sdk import AsyncQueueClient
from client_sdk.errors import BadParameter
from client_sdk.token_header import token_header
from client_sdk.work import WorkConnection
from client_sdk.work_check import check_welcome
from deploy.admin import AdminApi
from deploy.autoscaling.scale_api import ScaleApi

URL = "http://127.0.0.1:1"
SECRET = "my-secret"


@pytest.mark.parametrize("token", ["a-token", "Bearer a token", "", "tök"])
def test_a_token_becomes_a_header(token: str) -> None:
    assert token_header(token, URL) == ({"Authorization": token} if token else {})


@pytest.mark.parametrize(
    ("token", "url", "expected"),
    [
        (f"{SECRET}\nsecond", URL, "a token of one line"),
        (f"{SECRET}\r", URL, "a token of one line"),
        (f"{SECRET}\x00", URL, "a token of one line"),
        (f"{SECRET}\ud800", URL, "a token of one line"),
        (SECRET, f"http://user:{SECRET}@127.0.0.1:1", "a URL without a user"),
        (SECRET, f"{URL}, http://{SECRET}@127.0.0.1:1", "a URL without a user"),
    ],
)
async def test_every_client_says_what_is_wrong_and_repeats_no_secret(
    token: str, url: str, expected: str
) -> None:
    async def check() -> None:
        await check_welcome(url, "svc", token=token)

    def connect() -> object:
        return WorkConnection(url, "svc", window=1, token=token)

    makers = (
        lambda: AsyncQueueClient(url, "svc", token=token),
        connect,
        lambda: AdminApi(url, token),
        lambda: ScaleApi(url, token),
    )
    said = []
    for make in makers:
        with pytest.raises(BadParameter) as refused:
            make()
        said.append(str(refused.value))
    with pytest.raises(BadParameter) as refused:
        await check()
    said.append(str(refused.value))
    assert all(expected in sentence and SECRET not in sentence for sentence in said), said


def test_a_url_may_have_a_password_where_there_is_no_token() -> None:
    assert token_header("", "http://user:password@127.0.0.1:1") == {}
