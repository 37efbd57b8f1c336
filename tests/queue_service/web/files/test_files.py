"""The files API: OpenAI's own client uploads, lists, reads and deletes, and every edge of it."""

import asyncio
import gzip
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from openai import AsyncOpenAI, NotFoundError

from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

PART = b"--x\r\nContent-Disposition: form-data"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@dataclass
class Api:
    """The files API with one token after the other."""

    session: aiohttp.ClientSession
    url: str
    folder: Path
    made: list[str] = field(default_factory=list)

    async def ask(
        self, method: str, path: str = "", *, token: str = TOKEN, **more: Any
    ) -> tuple[int, Any, "CIMultiDictProxy[str]"]:
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        address = f"{self.url}/v1/files{path}"
        async with self.session.request(method, address, headers=headers, **more) as answer:
            is_json = answer.content_type == "application/json" and "/content" not in path
            body = await answer.json() if is_json else await answer.read()
            return answer.status, body, answer.headers

    async def upload(self, content: bytes = PNG, *, token: str = TOKEN, **fields: str) -> Any:
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value)
        form.add_field("file", content, filename="cat.png", content_type="image/png")
        status, body, _ = await self.ask("POST", token=token, data=form)
        assert status == 200, body
        self.made.append(body["id"])
        return body

    async def make_token(self, *scopes: str, **more: Any) -> str:
        wish = {"scopes": list(scopes or ("submit", "read")), **more}
        headers = {"Authorization": ADMIN_TOKEN}
        async with self.session.post(f"{self.url}/v1/tokens", json=wish, headers=headers) as answer:
            made = await answer.json()
            assert answer.status == 201, made
            return str(made["token"])

    def stored(self) -> list[str]:
        """Every file of the folder, also of uploads under way."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def api(serve: Serve, tmp_path: Path) -> AsyncIterator[Api]:
    folder = tmp_path / "files"
    url = await serve({"name": "svc"}, files_dir=str(folder), files_reserve_mb=0)
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, folder)
        yield api
        admin = await api.make_token("submit", "read", "all")
        for file_id in api.made:
            await api.ask("DELETE", f"/{file_id}", token=admin)
    assert api.stored() == []


async def test_openais_client_uploads_lists_reads_and_deletes(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"custom_id": "1"}\n')
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key=TOKEN) as client:
        made = await client.files.create(
            file=path, purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert (made.bytes, made.filename, made.purpose) == (19, "lines.jsonl", "batch")
        assert made.expires_at == made.created_at + 3600
        assert (await client.files.wait_for_processing(made.id)).status == "processed"
        assert [one.id async for one in client.files.list()] == [made.id]
        assert (await client.files.retrieve(made.id)).id == made.id
        assert (await client.files.content(made.id)).read() == path.read_bytes()
        assert (await client.files.delete(made.id)).deleted
        with pytest.raises(NotFoundError, match="there is no file"):
            await client.files.retrieve(made.id)
        with pytest.raises(NotFoundError):
            await client.files.delete(made.id)
    assert api.stored() == []


async def test_a_body_may_be_the_file_itself(api: Api) -> None:
    status, made, _ = await api.ask(
        "POST", "?filename=cat.png&purpose=vision", data=PNG, headers={"Content-Type": "image/png"}
    )
    assert status == 201
    api.made.append(made["id"])
    assert made["filename"] == "cat.png"
    assert made["content_type"] == "image/png"
    assert made["sha256"] == hashlib.sha256(PNG).hexdigest()

    status, body, headers = await api.ask("GET", f"/{made['id']}/content")
    assert (status, body) == (200, PNG)
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"] == "inline; filename*=UTF-8''cat.png"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-7", 206, PNG[:8]),
        ("bytes=-5", 206, PNG[-5:]),
        ("bytes=10240-", 206, PNG[10240:]),
        ("bytes=8-999999", 206, PNG[8:]),
        ("bytes=999999-", 416, b""),
        ("bytes=5-1", 416, b""),
        ("pieces=1", 416, b""),
    ],
)
async def test_a_range_of_a_content(api: Api, asked: str, status: int, expected: bytes) -> None:
    made = await api.upload()
    came, body, headers = await api.ask("GET", f"/{made['id']}/content", headers={"Range": asked})
    assert (came, body) == (status, expected)
    assert headers["Content-Range"].endswith(f"/{len(PNG)}")


async def test_a_content_that_the_client_has_is_not_sent_again(api: Api) -> None:
    path = f"/{(await api.upload())['id']}/content"
    status, body, headers = await api.ask("HEAD", path)
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(PNG)))
    again = {"If-None-Match": headers["ETag"]}
    assert (await api.ask("GET", path, headers=again))[:2] == (304, b"")
    part = {"Range": "bytes=0-3", "If-Range": headers["Last-Modified"]}
    assert (await api.ask("GET", path, headers=part))[:2] == (206, PNG[:4])
    other = {"If-Match": '"another"'}
    assert (await api.ask("GET", path, headers=other))[0] == 412


async def test_pages_of_a_list(api: Api) -> None:
    ids = [(await api.upload(purpose=f"p{number % 2}"))["id"] for number in range(5)]
    _, first, _ = await api.ask("GET", "?limit=2")
    assert [one["id"] for one in first["data"]] == ids[:2:-1]
    assert (first["has_more"], first["last_id"]) == (True, ids[3])
    _, rest, _ = await api.ask("GET", f"?limit=3&after={ids[3]}")
    assert [one["id"] for one in rest["data"]] == ids[2::-1]
    assert not rest["has_more"]
    _, oldest, _ = await api.ask("GET", "?order=asc&purpose=p1")
    assert [one["id"] for one in oldest["data"]] == [ids[1], ids[3]]
    assert (await api.ask("GET", "?after=file_0"))[0] == 404
    assert (await api.ask("GET", "?limit=0"))[0] == 400
    assert (await api.ask("GET", "?order=newest"))[0] == 400


async def test_owners_never_see_files_of_each_other(api: Api) -> None:
    ours, theirs = await api.make_token(owner="ours"), await api.make_token(owner="theirs")
    made = await api.upload(token=ours)
    for token in (theirs, TOKEN):
        assert (await api.ask("GET", token=token))[1]["data"] == []
        for method, path in (
            ("GET", ""),
            ("GET", "/content"),
            ("HEAD", "/content"),
            ("DELETE", ""),
        ):
            status, _, _ = await api.ask(method, f"/{made['id']}{path}", token=token)
            assert status == 404, (method, path)
        assert (await api.ask("GET", f"?after={made['id']}", token=token))[0] == 404
    # A second token of the owner, and one for everybody's jobs.
    for token in (await api.make_token(owner="ours"), await api.make_token("read", "all")):
        assert (await api.ask("GET", f"/{made['id']}", token=token))[0] == 200
    # The name of an owner is not the name of a service.
    named = await api.make_token(owner="svc")
    own = await api.upload()
    assert (await api.ask("GET", f"/{own['id']}", token=named))[0] == 404


async def test_a_later_service_of_the_same_name_sees_no_files(api: Api) -> None:
    admin = {"Authorization": ADMIN_TOKEN}
    address = f"{api.url}/v1/services/again"
    for seen in (1, 0):
        async with api.session.put(address, json={"token": "again"}, headers=admin) as answer:
            assert answer.status == 201
        if seen:
            await api.upload(token="again")
        assert len((await api.ask("GET", token="again"))[1]["data"]) == seen
        async with api.session.delete(address, headers=admin) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"purpose": "Batch!"}, "purpose: expected"),
        ({"purpose": ""}, "purpose: expected"),
        ({"colour": "red"}, "one of file, "),
        ({"expires_after[seconds]": "10"}, "a whole number from 3600 to 2592000"),
        ({"expires_after[seconds]": "1e4"}, "a whole number"),
        ({"expires_after[anchor]": "now"}, "created_at"),
        ({"purpose": "p" * 2000}, "at most 1024 bytes"),
    ],
)
async def test_a_bad_form_is_refused_and_nothing_is_stored(
    api: Api, fields: dict[str, str], words: str
) -> None:
    for file_first in (True, False):
        form = aiohttp.FormData()
        if file_first:
            form.add_field("file", PNG, filename="a")
        for name, value in fields.items():
            form.add_field(name, value)
        if not file_first:
            form.add_field("file", PNG, filename="a")
        status, body, _ = await api.ask("POST", data=form)
        assert (status, words in body["error"]["message"]) == (400, True), body
        assert api.stored() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"no form at all", "multipart/form-data; boundary=x"),
        (PART + b"; name=file\r\n\r\nhalf", "multipart/form-data; boundary=x"),
        (
            PART
            + b"; name=file\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
        (PART + b"; name=purpose\r\n\r\nbatch\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
async def test_what_is_no_form_is_refused_and_nothing_is_stored(
    api: Api, body: bytes, kind: str
) -> None:
    status, answer, _ = await api.ask("POST", data=body, headers={"Content-Type": kind})
    assert status == 400, answer
    assert answer["error"]["code"] == "BAD_PARAMETER"
    assert api.stored() == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_is_refused_before_it_is_unpacked(api: Api, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    status, body, _ = await api.ask("POST", data=gzip.compress(bytes(10_000)), headers=headers)
    assert (status, body["error"]["param"]) == (400, "Content-Encoding")
    assert api.stored() == []


async def test_two_files_in_one_form_are_refused(api: Api) -> None:
    form = aiohttp.FormData()
    form.add_field("file", PNG, filename="a")
    form.add_field("file", PNG, filename="b")
    status, body, _ = await api.ask("POST", data=form)
    assert status == 400
    assert "upload one at a time" in body["error"]["message"]
    assert api.stored() == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat.png", "cat.png"),
        ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"),
        ("..", "file"),
        ("", "file"),
        ("Käse 1.png", "Käse 1.png"),
        ("x" * 1000, "x" * 255),
    ],
)
async def test_a_name_is_only_a_name(api: Api, name: str, kept: str) -> None:
    status, made, _ = await api.ask("POST", params={"filename": name}, data=b"1")
    assert status == 201
    api.made.append(made["id"])
    assert made["filename"] == kept
    status, _, headers = await api.ask("GET", f"/{made['id']}/content")
    assert status == 200
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "x"])
async def test_a_browser_never_runs_what_was_uploaded(api: Api, kind: str) -> None:
    status, made, _ = await api.ask("POST", data=b"<script>", headers={"Content-Type": kind})
    assert status == 201
    api.made.append(made["id"])
    _, _, headers = await api.ask("GET", f"/{made['id']}/content")
    assert headers["Content-Disposition"].startswith("attachment;")
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("path", ["/..%2f..%2fetc%2fpasswd/content", "/file_x/content", "/%00"])
async def test_an_id_is_never_a_path(api: Api, path: str) -> None:
    status, _, _ = await api.ask("GET", path)
    assert status in (400, 404)


async def test_a_client_that_goes_away_leaves_nothing(api: Api) -> None:
    begun = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield PNG * 200
        begun.set()
        await asyncio.Event().wait()

    uploading = asyncio.create_task(api.ask("POST", data=half()))
    await begun.wait()
    await wait_until(api.stored, "the upload is under way")
    uploading.cancel()
    await wait_until(lambda: not api.stored(), "nothing is left")


async def test_limits_of_size(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    url = await serve({"name": "svc"}, files_dir=str(folder), files_reserve_mb=0, max_file_mb=1)
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, folder)
        big = b"x" * (1024 * 1024 + 1)
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(big), filename="a")
        for data in (io.BytesIO(big), form):
            status, body, _ = await api.ask("POST", data=data)
            assert status == 413, body
            assert "PENSTOCK_MAX_FILE_MB" in body["error"]["message"]
        assert api.stored() == []
        assert (await api.upload(big[:-1]))["bytes"] == len(big) - 1
        await api.ask("DELETE", f"/{api.made[0]}")


async def test_one_owner_leaves_room_for_others(serve: Serve, tmp_path: Path) -> None:
    folder, half_mb = tmp_path / "files", b"x" * 512 * 1024
    url = await serve({"name": "svc"}, files_dir=str(folder), files_reserve_mb=0, files_total_mb=2)
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, folder)
        greedy, other = await api.make_token(owner="greedy"), await api.make_token(owner="other")
        made = [await api.upload(half_mb, token=greedy) for _ in range(3)]
        status, body, _ = await api.ask("POST", data=half_mb, token=greedy)
        assert (status, body["error"]["code"]) == (507, "FILES_FULL")
        assert "your files have their share" in body["error"]["message"]
        assert len(api.stored()) == 3
        small = await api.upload(half_mb[: 300 * 1024], token=other)
        assert (await api.ask("DELETE", f"/{made[0]['id']}", token=greedy))[0] == 200
        again = await api.upload(half_mb[: 300 * 1024], token=greedy)
        for one, token in ((made[1], greedy), (made[2], greedy), (again, greedy), (small, other)):
            assert (await api.ask("DELETE", f"/{one['id']}", token=token))[0] == 200
        assert api.stored() == []


async def test_a_disk_without_room_takes_nothing(serve: Serve, tmp_path: Path) -> None:
    url = await serve({"name": "svc"}, files_dir=str(tmp_path / "files"), files_reserve_mb=2**40)
    async with aiohttp.ClientSession() as session:
        status, body, _ = await Api(session, url, tmp_path / "files").ask("POST", data=PNG)
    assert (status, body["error"]["code"]) == (507, "FILES_FULL")
    assert "MiB are reserved" in body["error"]["message"]


async def test_without_a_folder_there_are_no_files(serve: Serve) -> None:
    url = await serve({"name": "svc"})
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, Path())
        for method, path in (("POST", ""), ("GET", ""), ("GET", "/file_1"), ("DELETE", "/file_1")):
            status, body, _ = await api.ask(method, path, data=b"1" if method == "POST" else None)
            assert (status, body["error"]["code"]) == (501, "NO_FILE_STORE")
            assert "PENSTOCK_FILES_DIR" in body["error"]["message"]
