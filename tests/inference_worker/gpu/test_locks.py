"""The locks of GPUs: who gets which, and what is left after a kill."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference_worker.errors import BadGpuFolder
from inference_worker.gpu.devices import Gpu
from inference_worker.gpu.locks import Claim, Held, Holder, LockFolder

GPUS = tuple(Gpu(number, f"GPU-{number}", "H100") for number in range(4))
ME = Holder("w1", "svc", "host", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[LockFolder]:
    folder = LockFolder(str(tmp_path / "deep" / "locks"))
    yield folder
    folder.close()


@pytest.fixture
def claims() -> Iterator[list[Claim]]:
    taken: list[Claim] = []
    yield taken
    for claim in taken:
        claim.close()


def take(
    folder: LockFolder,
    claims: list[Claim],
    *,
    count: int = 1,
    shares: int = 1,
    gpus: tuple[Gpu, ...] = GPUS,
) -> list[int] | Held:
    got = folder.take(gpus, count=count, shares=shares, holder=ME)
    if isinstance(got, Claim):
        claims.append(got)
        return [gpu.index for gpu in got.gpus]
    assert isinstance(got, Held)
    return got


def test_each_gets_another_gpu_and_the_last_one_learns_who_has_them(
    folder: LockFolder, claims: list[Claim]
) -> None:
    assert [take(folder, claims) for _ in GPUS] == [[0], [1], [2], [3]]
    assert take(folder, claims) == Held(tuple((gpu, ME) for gpu in GPUS))
    claims.pop(2).close()
    assert take(folder, claims) == [2]


def test_several_gpus_are_taken_together_or_not_at_all(
    folder: LockFolder, claims: list[Claim]
) -> None:
    assert take(folder, claims, count=3) == [0, 1, 2]
    assert isinstance(take(folder, claims, count=2), Held)
    assert take(folder, claims) == [3], "the failed try has kept nothing"


def test_workers_that_share_are_spread_over_the_gpus(
    folder: LockFolder, claims: list[Claim]
) -> None:
    two = GPUS[:2]
    got = [take(folder, claims, shares=3, gpus=two) for _ in range(6)]
    assert got == [[0], [1], [0], [1], [0], [1]]
    full = take(folder, claims, shares=3, gpus=two)
    assert isinstance(full, Held)
    assert [gpu.index for gpu, _ in full.holders] == [0, 0, 0, 1, 1, 1]
    claims.pop(3).close()
    assert take(folder, claims, shares=3, gpus=two) == [1]


def test_a_shared_gpu_is_never_given_to_one_worker_alone(
    folder: LockFolder, claims: list[Claim]
) -> None:
    two = GPUS[:2]
    assert take(folder, claims, shares=2, gpus=two) == [0]
    assert take(folder, claims, gpus=two) == [1]
    assert isinstance(take(folder, claims, gpus=two), Held)
    assert take(folder, claims, shares=2, gpus=two) == [0]
    assert isinstance(take(folder, claims, shares=2, gpus=two), Held)


def test_a_killed_holder_leaves_the_gpu_free_and_a_surviving_child_keeps_it(
    tmp_path: Path, folder: LockFolder, claims: list[Claim]
) -> None:
    program = f"""
import os, signal, sys
from inference_worker.gpu.devices import Gpu
from inference_worker.gpu.locks import Holder, LockFolder
folder = LockFolder({str(tmp_path / "deep" / "locks")!r})
folder.take([Gpu(0, "GPU-0", "H100")], count=1, shares=1, holder=Holder("dead", "svc", "h", 7))
child = os.fork()
if child: print(child, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    one = GPUS[:1]
    assert take(folder, claims, gpus=one) == Held(((GPUS[0], Holder("dead", "svc", "h", 7)),))
    pidfd = os.pidfd_open(child)
    os.kill(child, signal.SIGKILL)
    # Readable once it has ended, when the kernel has closed its files.
    select.select([pidfd], [], [])
    os.close(pidfd)
    assert take(folder, claims, gpus=one) == [0]


NAMED = '{"worker": "w", "service": "s", "host": "h", "pid": '


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"worker": 1}',
        '{"pid": {}}',
        "\x00" * 9000,
        "[" * 4096,
        NAMED + "Infinity}",
        NAMED + "1e999}",
        NAMED + "NaN}",
        NAMED + "9" * 4000 + "}",
        "\ud800",
    ],
)
def test_a_spoiled_text_only_hides_the_name(
    tmp_path: Path, folder: LockFolder, claims: list[Claim], text: str
) -> None:
    take(folder, claims)
    (tmp_path / "deep" / "locks" / "GPU-0.lock").write_text(text, errors="surrogatepass")
    (held,) = take(folder, claims, gpus=GPUS[:1]).holders  # type: ignore[union-attr]
    assert str(held[1]) == "a worker whose name is not known"


def test_a_name_in_the_file_of_another_user_cannot_act_on_a_terminal(
    tmp_path: Path, folder: LockFolder, claims: list[Claim]
) -> None:
    take(folder, claims)
    names = {"worker": "\x1b[2Jw\n" + "x" * 999, "service": "s", "host": "h", "pid": 1}
    (tmp_path / "deep" / "locks" / "GPU-0.lock").write_text(json.dumps(names))
    ((_, holder),) = take(folder, claims, gpus=GPUS[:1]).holders  # type: ignore[union-attr]
    assert str(holder).isprintable()
    assert len(str(holder)) < 200


def test_links_and_pipes_of_others_are_refused(tmp_path: Path, folder: LockFolder) -> None:
    locks, mine = tmp_path / "deep" / "locks", tmp_path / "mine"
    mine.write_text("mine")
    traps: list[Callable[[Path], object]] = [
        lambda path: path.symlink_to(mine),
        lambda path: path.hardlink_to(mine),
        os.mkfifo,
        lambda path: path.mkdir(),
    ]
    for number, trap in enumerate(traps):
        trap(locks / f"GPU-{number}.lock")
        with pytest.raises(BadGpuFolder):
            folder.take(GPUS[number : number + 1], count=1, shares=1, holder=ME)
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadGpuFolder, match="PENSTOCK_WORKER_GPU_DIR"):
            LockFolder(str(path))


def test_a_uuid_with_slashes_is_a_plain_name(folder: LockFolder, claims: list[Claim]) -> None:
    assert take(folder, claims, gpus=(Gpu(0, "MIG-GPU-x/../1/0", "A100", 0),)) == [0]
