"""Which GPUs `nvidia-smi -L` lists, and which of them a name chooses."""

import pytest

from inference_worker.errors import NoGpus
from inference_worker.gpu.devices import Gpu, choose, list_gpus, names_of, read_list, visible_names

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc)
  MIG 1g.5gb      Device  1: (UUID: MIG-dddd)
GPU 2: NVIDIA A100 (UUID: GPU-eeee)
  MIG 3g.20gb Device 0: (UUID: MIG-GPU-eeee/1/0)
GPU 10: Tesla (odd) V100 (UUID: GPU-aabb)
"""

WHOLE = Gpu(0, "GPU-aaaa", "NVIDIA H100 80GB HBM3")
FIRST = Gpu(1, "MIG-cccc", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 0)
SECOND = Gpu(1, "MIG-dddd", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 1)
OLD = Gpu(2, "MIG-GPU-eeee/1/0", "NVIDIA A100 MIG 3g.20gb", 0)
LAST = Gpu(10, "GPU-aabb", "Tesla (odd) V100")


def test_a_gpu_with_slices_is_replaced_by_them() -> None:
    assert read_list(LISTING) == (WHOLE, FIRST, SECOND, OLD, LAST)
    assert read_list("No devices found.\n") == ()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["0"], [WHOLE]),
        (["10", "0"], [LAST, WHOLE]),
        (["1"], [FIRST, SECOND]),
        (["1:1"], [SECOND]),
        (["0", "0"], [WHOLE]),
        (["GPU-aaa"], [WHOLE]),
        (["MIG-GPU-eeee/1/0", "MIG-c"], [OLD, FIRST]),
        ([], []),
    ],
)
def test_a_name_chooses(names: list[str], chosen: list[Gpu]) -> None:
    assert choose(read_list(LISTING), names) == tuple(chosen)


@pytest.mark.parametrize("name", ["3", "1:2", "-1", "GPU-x", "GPU-aa", "H100", "00"])
def test_a_name_of_no_gpu_is_refused(name: str) -> None:
    with pytest.raises(NoGpus, match=name):
        choose(read_list(LISTING), [name])


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("0,1", ["0", "1"]),
        (" 2 , GPU-a", ["2", "GPU-a"]),
        ("1,-1,2", ["1"]),
        ("NoDevFiles", []),
    ],
)
def test_cuda_visible_devices_ends_at_its_first_invalid_entry(
    value: str | None, names: list[str] | None
) -> None:
    assert visible_names(value) == names


def test_people_see_models_and_numbers() -> None:
    assert names_of(()) == ""
    assert names_of((WHOLE,)) == "NVIDIA H100 80GB HBM3 (GPU 0)"
    assert names_of((LAST, Gpu(11, "GPU-x", LAST.model))) == "2 x Tesla (odd) V100 (GPU 10, 11)"
    assert (FIRST.visible, LAST.visible) == ("MIG-cccc", "10")


def test_a_machine_without_gpus_differs_from_one_with_a_broken_driver(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    with pytest.raises(NoGpus) as none:
        list_gpus()
    assert not none.value.has_driver
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Driver/library version mismatch'; exit 18\n")
    program.chmod(0o755)
    with pytest.raises(NoGpus, match="ended with 18: Driver/library version mismatch") as broken:
        list_gpus()
    assert broken.value.has_driver
    program.write_text("#!/bin/sh\necho 'No devices found.'\n")
    with pytest.raises(NoGpus, match="lists none: No devices found") as empty:
        list_gpus()
    assert not empty.value.has_driver
