"""How many GPUs `metadata.gpu` means, and which of them an instance gets.  Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.errors import BadServiceFile

#: The most instances that share one GPU.
MOST_SHARES = 64


@dataclass(frozen=True, slots=True)
class GpusEach:
    """The GPUs of an instance: `count`, each of which `shares` instances may use."""

    count: int = 0
    shares: int = 1

    def groups(self, instances: int) -> int:
        """Return the number of groups of GPUs that these instances need."""
        return math.ceil(instances / self.shares) if self.count else 0


def gpus_each(gpu: float | None) -> GpusEach:
    """Return what a number of GPUs means: 0.5 is one GPU for two instances, 1.5 is two GPUs."""
    if not gpu:
        return GpusEach()
    if gpu < 1:
        # 0.3 is a third, although 1 / 0.3 is a little more than 3.
        return GpusEach(1, min(MOST_SHARES, math.floor(1 / gpu + 1e-9)))
    return GpusEach(math.ceil(gpu))


def device_ids(each: GpusEach, *, instances: int, given: Sequence[str] = ()) -> list[list[str]]:
    """Return the GPUs of each instance; raises BadServiceFile when too few are given.

    given: the GPUs to use; by default those with the lowest numbers.
    """
    needed = each.count * each.groups(instances)
    ids = list(given) or [str(number) for number in range(needed)]
    if len(ids) < needed:
        raise BadServiceFile(
            f"metadata.gpu: expected {needed} GPUs for {instances} instances, got {len(ids)}: "
            f"{', '.join(ids)}"
        )
    starts = [number // each.shares * each.count for number in range(instances)]
    return [ids[start : start + each.count] for start in starts]
