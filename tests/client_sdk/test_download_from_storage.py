"""A content comes from the storage if that can be reached, and else from the service."""

import hashlib
from pathlib import Path

from client_sdk import AsyncQueueClient, RetryPolicy
from client_sdk.download import Download
from tests.client_sdk.peers import CUT_OFF, HttpPeer, answer, serving
from tests.running import TOKEN

FAST = RetryPolicy(retries=2, first_delay_s=0.001, most_delay_s=0.01)
CONTENT = bytes(range(256)) * 1000


async def download(url: str, to: Path) -> bytes:
    async with AsyncQueueClient(url, "svc", token=TOKEN, retry=FAST) as client:
        download = Download(
            client.files._transport,
            "/content",
            size_bytes=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            from_storage=True,
        )
        return (await download.to(to)).read_bytes()


async def test_the_storage_gets_no_token(tmp_path: Path) -> None:
    storage = HttpPeer([answer(200, CONTENT)])
    async with serving(storage.handle) as there:
        service = HttpPeer([answer(307, Location=f"{there}/content?signature=x")])
        async with serving(service.handle) as url:
            assert await download(url, tmp_path / "copy") == CONTENT
    assert service.asked[0].query == {"redirect": "true"}
    assert service.asked[0].headers["Authorization"] == TOKEN
    assert storage.asked[0].query == {"signature": "x"}
    assert "Authorization" not in storage.asked[0].headers


async def test_a_storage_that_cannot_be_reached_or_refuses_is_not_used(tmp_path: Path) -> None:
    storage = HttpPeer([answer(403, b"no"), CUT_OFF])
    async with serving(storage.handle) as there:
        for address in (there, there, "http://127.0.0.1:9"):
            service = HttpPeer([answer(307, Location=f"{address}/content"), answer(200, CONTENT)])
            async with serving(service.handle) as url:
                assert await download(url, tmp_path / "copy") == CONTENT
            assert [one.query["redirect"] for one in service.asked] == ["true", "false"]


async def test_a_service_with_a_folder_answers_itself(tmp_path: Path) -> None:
    service = HttpPeer([answer(200, CONTENT)])
    async with serving(service.handle) as url:
        assert await download(url, tmp_path / "copy") == CONTENT
