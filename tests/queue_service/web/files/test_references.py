"""An input names uploads, and its job owns what it names."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

PICTURE = b"a picture" * 100
TAKE = {names.AUTO_DELETE: "true"}


class Bench:
    """A service `svc`, its files, and tokens."""

    def __init__(self, session: aiohttp.ClientSession, url: str, folder: Path) -> None:
        self.session, self.url, self.folder = session, url, folder
        self.jobs = f"{url}/v1/services/svc/jobs"
        self.queue = f"{url}{names.EAS_PREFIX}/svc"

    async def ask(
        self, method: str, address: str, body: Any = None, *, token: str = TOKEN, **more: Any
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        async with self.session.request(
            method, address, data=body, headers=headers, **more
        ) as answer:
            return answer.status, await answer.read()

    async def upload(self, token: str = TOKEN) -> str:
        query = {"filename": "cat.png"}
        kind = {"Content-Type": "image/png"}
        _, body = await self.ask(
            "POST", f"{self.url}/v1/files", PICTURE, token=token, params=query, headers=kind
        )
        return str(json.loads(body)["id"])

    async def make_token(self, *scopes: str) -> str:
        wanted = {"scopes": list(scopes)}
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with self.session.post(
            f"{self.url}/v1/tokens", json=wanted, headers=headers
        ) as answer:
            made = await answer.json()
            assert answer.status == 201, made
            return str(made["token"])

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    async def taken(self) -> Any:
        """Take the next input; return what it says."""
        return json.loads((await self.ask("GET", self.queue, params=TAKE))[1])

    async def is_empty(self) -> bool:
        return not self.stored()


@pytest.fixture
async def bench(serve: Serve, tmp_path: Path) -> AsyncIterator[Bench]:
    folder = tmp_path / "files"
    url = await serve({"name": "svc"}, files_dir=str(folder), files_reserve_mb=0)
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, url, folder)
        yield bench
        await bench.ask("DELETE", bench.queue, params={"_trunc_": "true", "_index_": str(2**62)})
        await wait_until(bench.is_empty, "the files went with their entries")


async def test_a_job_owns_what_it_names_and_the_upload_may_go(bench: Bench) -> None:
    upload = await bench.upload()
    asked = {"images": [{"$file": upload}, {"$file": upload}], "text": "two", "$file": "not ours"}
    assert (await bench.ask("PUT", f"{bench.jobs}/one", json.dumps(asked)))[0] == 202
    # The same again is the same job, although its files have other names.
    assert (await bench.ask("PUT", f"{bench.jobs}/one", json.dumps(asked)))[0] == 202
    assert len(bench.stored()) == 2
    assert (await bench.ask("DELETE", f"{bench.url}/v1/files/{upload}"))[0] == 200
    (owned,) = bench.stored()
    assert next(bench.folder.rglob(owned)).read_bytes() == PICTURE
    taken = await bench.taken()
    assert taken == {**asked, "images": [{"$file": owned}, {"$file": owned}]}
    assert owned.startswith("payload_")


async def test_every_api_takes_references(bench: Bench) -> None:
    upload = await bench.upload()
    asked = json.dumps({"image": {"$file": upload}})
    line = json.dumps({"input": {"image": {"$file": upload}}}) + "\n"
    large = json.dumps({"image": {"$file": upload}, "text": "x" * 100_000})
    ndjson = {"Content-Type": "application/x-ndjson"}
    assert (await bench.ask("POST", bench.queue, asked))[0] == 200
    assert b'"status": 202' in (await bench.ask("POST", bench.jobs, line, headers=ndjson))[1]
    assert (await bench.ask("POST", bench.jobs, large))[0] == 202
    assert len(bench.stored()) == 1 + 3 + 1, "the upload, one for each job, and the large input"
    for _ in range(3):
        assert (await bench.taken())["image"]["$file"].startswith("payload_")
    assert (await bench.ask("DELETE", f"{bench.url}/v1/files/{upload}"))[0] == 200


@pytest.mark.parametrize("scopes", [("submit",), ("submit", "all")])
async def test_nobody_names_what_is_not_theirs(bench: Bench, scopes: tuple[str, ...]) -> None:
    upload = await bench.upload()
    asked = json.dumps({"deep": [{"image": {"$file": upload}}]})
    assert (await bench.ask("POST", bench.jobs, asked))[0] == 202
    owned = next(name for name in bench.stored() if name.startswith("payload_"))
    token = await bench.make_token(*scopes)
    foreign = [owned, "file_" + "0" * 32, "payload_/../../etc/passwd"]
    foreign += [] if "all" in scopes else [upload]
    for file_id in foreign:
        asked = json.dumps({"deep": [{"image": {"$file": file_id}}]})
        for address in (bench.jobs, bench.queue):
            status, told = await bench.ask("POST", address, asked, token=token)
            assert status == 404, told
            assert b"$.deep[0].image" in told
    many = json.dumps([{"$file": f"file_{number:032}"} for number in range(65)])
    status, told = await bench.ask("POST", bench.jobs, many, token=token)
    assert status == 400
    assert b"at most 64 files" in told
    assert len(bench.stored()) == 2
    await bench.taken()
    assert (await bench.ask("DELETE", f"{bench.url}/v1/files/{upload}"))[0] == 200


async def test_what_is_no_reference_stays_as_it_was(bench: Bench) -> None:
    for body in ('{"$file": 3}', '{"$file": "file_x", "more": 1}', '{"$file": "other"}', '["$file'):
        await bench.ask("POST", bench.queue, body)
        assert (await bench.ask("GET", bench.queue, params=TAKE))[1].decode() == body
