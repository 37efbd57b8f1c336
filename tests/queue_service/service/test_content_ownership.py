"""Contents and their owners, whatever is killed and however the storage fails in between.

What an entry or a client has is there, whole; and when all of it is gone, and the sweep has been,
nothing is left.  On a folder and on S3.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError
from queue_service.service.files import About, FileLimits, FileOwner, Files
from queue_service.service.payload_files import PayloadFiles
from queue_service.settings.process import Settings
from queue_service.store import s3_contents
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.entry import NewEntry
from queue_service.store.file_folder import FileFolder, Writer
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import FileIndex
from queue_service.store.keys import Keys
from queue_service.store.outcomes import Stored
from queue_service.store.payload import FileOfEntry
from queue_service.store.rules import Limits
from queue_service.store.s3_contents import S3Address, S3Contents, S3Writer
from queue_service.store.s3_signing import Keys as S3Keys
from queue_service.store.scripts import Scripts
from tests.fair.shop import SERVICE, Shop
from tests.fuzz.cases import cases
from tests.leaks import forget
from tests.queue_service.service.mortal import Killed, Life
from tests.s3_server import Bucket, bucket_at

Result = TypeVar("Result")

LIMITS = Limits(100, 2**30, inline_bytes=10)
US = FileOwner("owner:us")
ABOUT = About("cat.png", "user_data", "image/png")
#: Entries that the queue takes: one more is refused, and its file has to go.
MOST_ENTRIES = 6
#: A time that no file of a test reaches.
LATER_MS = 10**14

#: After which step the process is killed; most live.
DIES = st.one_of(st.none(), st.none(), st.integers(1, 8))
#: What the storage does to requests of this kind, and to how many.
FAULTS = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(["500", "cut", "lost", "part", "late", "slow"]),
        st.sampled_from(["PUT", "GET", "DELETE", ""]),
        st.integers(1, 4),
    ),
)
PICKS = st.integers(0, 20)


class Machine(RuleBasedStateMachine):
    """One process after the other, on one storage."""

    def __init__(self, redis_url: str, key_prefix: str, folder: Path, storage_url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis_url, self.key_prefix = redis_url, key_prefix
        self.folder = folder / uuid.uuid4().hex
        self.opened = contextlib.AsyncExitStack()
        self.bucket: Bucket | None = None
        self.life = Life()
        self.numbers = itertools.count()
        self.writers: list[Writer | S3Writer] = []
        #: By the index of an entry, its file and what that contains; and so for a client's files.
        self.entries: dict[int, tuple[FileOfEntry, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.do(self._open(storage_url))

    async def _open(self, storage_url: str) -> None:
        contents: FileFolder | S3Contents
        if storage_url:
            name = f"bucket-{uuid.uuid4().hex}"
            self.bucket = await self.opened.enter_async_context(bucket_at(storage_url, name))
            keys = S3Keys("test-access", "test-secret")
            address = S3Address(name, "in/here", endpoint=self.bucket.url, keys=keys)
            contents = S3Contents(address, most_bytes=2**30)
        else:
            contents = FileFolder(self.folder, durable=False)
            contents.prepare()
        settings = Settings(redis_url=self.redis_url, key_prefix=self.key_prefix)
        confirmation = confirmation_for(settings)
        servers = connect(settings, confirmation)
        self.opened.push_async_callback(servers.aclose)
        scripts = Scripts(servers, confirmation, timeout_s=30.0)
        holders = FileHolders(scripts, Keys(self.key_prefix, SERVICE))
        self.index = FileIndex(scripts, key_prefix=self.key_prefix)
        self.shop = Shop(scripts, Keys(self.key_prefix, SERVICE))
        self.shop.change(limits=Limits(MOST_ENTRIES, 2**30, inline_bytes=10))
        limits = FileLimits(2**30, 0, 0, 3600)
        self.files = Files(self.index, contents, limits, lambda _, __: holders)
        self.payloads = PayloadFiles(
            self.files, holders, Doorbell(), service=SERVICE, incarnation=0
        )
        self.life.bind(self.index, ("add", "remove", "find", "keep", "expired", "are_needed"))
        self.life.bind(holders, ("are_held", "unneeded", "forget"))
        self.life.bind(contents, ("remove", "link") if not storage_url else ("remove",))
        self._bind_writers(contents)

    def _bind_writers(self, contents: FileFolder | S3Contents) -> None:
        make = cast(Callable[..., Any], contents.writer)

        def writer(file_id: str, *, attempt: int = 0) -> Any:
            made = make(file_id, attempt=attempt)
            # Entered and left by their names, and not by a `with`.
            self.life.bind(made, ("__aenter__", "write", "finish", "__aexit__"))
            self.writers.append(made)
            return made

        cast(Any, contents).writer = writer

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def run(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        dies: int | None,
        fault: tuple[str, str, int] | None,
    ) -> bool:
        """Let one process do this, to its end or to its own; say whether it came to the end."""
        self.life.steps_left = dies
        if fault and self.bucket:
            kind, method, times = fault
            self.bucket.fail(kind, times, method=method)
        try:
            self.do(work())
        except (Killed, ServiceError, OSError):
            return False
        finally:
            self.life.steps_left = None
            self._close_files()
            if self.bucket:
                self.bucket.faults.clear()
        return True

    def _close_files(self) -> None:
        """Do what the system does for a killed process."""
        for writer in self.writers:
            if isinstance(writer, Writer) and writer._file is not None:
                writer._file.close()
        self.writers.clear()

    def content(self, size: int) -> bytes:
        return (b"%d " % next(self.numbers)).ljust(size, b"x")

    # --- What a process does

    @rule(size=st.sampled_from([20, 3000, 200_000]), dies=DIES, fault=FAULTS)
    def put(self, size: int, dies: int | None, fault: tuple[str, str, int] | None) -> None:
        data = self.content(size)

        async def work() -> None:
            name = f"r{next(self.numbers)}"
            entry = await self.payloads.offload(NewEntry(name, data), LIMITS)
            await self._put(entry, entry.files[0], data)

        self.run(work, dies, fault)

    @precondition(lambda self: bool(self.uploads))
    @rule(pick=PICKS, dies=DIES, fault=FAULTS)
    def put_reference(
        self, pick: int, dies: int | None, fault: tuple[str, str, int] | None
    ) -> None:
        file_id = self.picked(self.uploads, pick)
        data = self.uploads[file_id]

        async def work() -> None:
            linked = await self.payloads.link(US, file_id)
            entry = NewEntry(f"r{next(self.numbers)}", b"{}", files=(linked,))
            await self._put(entry, linked, data)

        self.run(work, dies, fault)

    async def _put(self, entry: NewEntry, file: FileOfEntry, data: bytes) -> None:
        async def stored() -> None:
            outcome = await self.shop.store.put(entry)
            if isinstance(outcome, Stored):
                self.entries[outcome.index] = file, data

        await self.life.step(stored)()
        await self.payloads.settle(entry.files)

    @rule(size=st.sampled_from([0, 20, 200_000]), dies=DIES, fault=FAULTS)
    def upload(self, size: int, dies: int | None, fault: tuple[str, str, int] | None) -> None:
        data = self.content(size) if size else b""

        async def work() -> None:
            async with await self.files.upload(US, announced_bytes=None) as upload:
                await upload.write(data[: size // 2])
                await upload.write(data[size // 2 :])
                made = await upload.finish(ABOUT)
            self.uploads[made.id] = data

        self.run(work, dies, fault)

    @rule(size=st.sampled_from([20, 200_000]))
    def break_off(self, size: int) -> None:
        """The client goes away in the middle."""

        async def work() -> None:
            async with await self.files.upload(US, announced_bytes=None) as upload:
                await upload.write(self.content(size))
                raise ConnectionResetError

        self.run(work, None, None)

    @precondition(lambda self: bool(self.uploads))
    @rule(pick=PICKS, dies=DIES, fault=FAULTS)
    def delete_upload(
        self, pick: int, dies: int | None, fault: tuple[str, str, int] | None
    ) -> None:
        file_id = self.picked(self.uploads, pick)
        # Its client asked for it: from now on it may be gone.
        del self.uploads[file_id]
        self.run(lambda: self.files.delete(US, file_id), dies, fault)

    @precondition(lambda self: bool(self.entries))
    @rule(picks=st.lists(PICKS, min_size=1, max_size=3))
    def end_entries(self, picks: list[int]) -> None:
        for pick in picks:
            if self.entries:
                index = self.picked(self.entries, pick)
                del self.entries[index]
                self.do(self.shop.store.delete([index]))

    @rule(dies=DIES, fault=FAULTS)
    def remove_unneeded(self, dies: int | None, fault: tuple[str, str, int] | None) -> None:
        self.run(self.payloads.remove_unneeded, dies, fault)

    @rule(dies=DIES, fault=FAULTS)
    def sweep(self, dies: int | None, fault: tuple[str, str, int] | None) -> None:
        self.run(lambda: self.files.sweep(left_over_s=-3600), dies, fault)

    @rule(dies=DIES, fault=FAULTS)
    def expire_payloads(self, dies: int | None, fault: tuple[str, str, int] | None) -> None:
        """An hour passes: what was stored for an entry that never came is removed."""
        self.do(self.end_the_time(lambda file_id: file_id.startswith("payload_")))
        self.run(self.files.expire, dies, fault)

    # --- What has to hold

    @invariant()
    def what_is_owned_is_there_and_whole(self) -> None:
        owned = [(file.id, data) for file, data in self.entries.values()]
        for file_id, data in (*owned, *self.uploads.items()):
            assert self.do(self.read(file_id)) == data

    def teardown(self) -> None:
        try:
            self.do(self.shop.store.delete(list(self.entries)))
            self.do(self.end_the_time(lambda _: True))
            self.do(self.files.expire())
            self.do(self.payloads.remove_unneeded())
            self.do(self.files.sweep(left_over_s=-3600))
            assert self.do(self.left()) == []
        finally:
            self.do(self.opened.aclose())
            self.runner.close()
            forget(self.redis_url, self.key_prefix)

    def picked(self, among: dict[Any, Any], pick: int) -> Any:
        return sorted(among)[pick % len(among)]

    async def read(self, file_id: str) -> bytes:
        return await (await self.files.content(file_id)).whole()

    async def end_the_time(self, of: Callable[[str], bool]) -> None:
        found = await self.index.expired(LATER_MS, count=10_000)
        await self.index.keep([file.id for file in found if of(file.id)], 1)

    async def left(self) -> list[str]:
        """Return what is left in the storage and in the index."""
        ids = [file.id for file in await self.index.expired(LATER_MS, count=10_000)]
        if self.bucket:
            return ids + await self.bucket.stored() + await self.bucket.unfinished()
        return ids + [path.name for path in self.folder.rglob("*") if path.is_file()]


def test_contents_in_a_folder_have_one_owner_whatever_is_killed(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    make: Any = lambda: Machine(redis_url, key_prefix, tmp_path, "")  # noqa: E731
    run_state_machine_as_test(make, settings=cases(0.05, steps=25))


@pytest.mark.timeout(300)
def test_contents_in_s3_have_one_owner_whatever_is_killed_and_fails(
    redis_url: str,
    key_prefix: str,
    tmp_path: Path,
    storage_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The library waits longer before each repetition.
    monkeypatch.setattr(s3_contents, "RETRIES", 1)
    monkeypatch.setattr(s3_contents, "READ_TRIES", 2)
    make: Any = lambda: Machine(redis_url, key_prefix, tmp_path, storage_url)  # noqa: E731
    run_state_machine_as_test(make, settings=cases(0.02, steps=20))
