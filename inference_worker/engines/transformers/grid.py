"""The KV cache: keys and values of all rows in one left-padded rectangle.

               columns      start              end
    row 0                    .  .  k  k  k  k  k |     all rows end at the same column;
    row 1                    k  k  k  k  k  k  k |     the longest begins at `start`;
    row 2                    .  .  .  .  k  k  k |     columns left of a row are masked

A step writes one column at `end`, in place.  A row that leaves is replaced by the last one; a new
row is added after the last.  Moving `start` drops columns that no row uses.  New tensors, a little
larger than needed, are allocated only when a side of the rectangle is reached; transformers'
DynamicCache allocates new ones at every step.

All values inside the rectangle are finite.  A masked NaN would still break its row, because 0 * NaN
is NaN, and leftovers of a failed row must not break the next one.
"""

from collections.abc import Sequence as Rows
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

#: Spare columns of new tensors: the number of steps until the next allocation.
SPARE_COLUMNS = 128

#: The number of rows of new tensors is a multiple of this.
ROWS_AT_ONCE = 4

#: Keys and values of one prompt, for each layer: [1, heads, tokens, size].
Prefilled = list[tuple[Tensor, Tensor]]


class _Layer(DynamicLayer):  # type: ignore[misc]
    """One layer of the grid, as the model sees it."""

    def __init__(self, grid: "Grid") -> None:
        super().__init__()
        self._grid = grid

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        grid = self._grid
        self.keys[: grid.rows, :, grid.end] = key_states[:, :, 0]
        self.values[: grid.rows, :, grid.end] = value_states[:, :, 0]
        seen = slice(grid.start, grid.end + 1)
        return self.keys[: grid.rows, :, seen], self.values[: grid.rows, :, seen]

    def get_seq_length(self) -> int:
        return self._grid.width

    def begin(self, keys: Tensor, values: Tensor) -> None:
        """Set device, type and sizes from the first prompt."""
        self.keys = keys.new_zeros((0, keys.shape[1], 0, keys.shape[3]))
        self.values = values.new_zeros((0, values.shape[1], 0, values.shape[3]))
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True


class Grid:
    """The rectangle.  Rows are numbered from 0; `leave` may change the number of one row."""

    def __init__(self) -> None:
        self.rows = 0
        self.start = 0
        self.end = 0
        self.lengths: list[int] = []  # tokens of each row
        self.cache: Cache | None = None
        self._layers: list[_Layer] = []
        self._mask = torch.zeros((0, 0), dtype=torch.bool)

    @property
    def width(self) -> int:
        """The number of columns in use."""
        return self.end - self.start

    @property
    def capacity(self) -> tuple[int, int]:
        """The allocated rows and columns."""
        return self._mask.shape[0], self._mask.shape[1]

    def mask(self) -> Tensor:
        """Return which columns each row uses, including the column of the next step."""
        return self._mask[: self.rows, self.start : self.end + 1]

    def advance(self) -> None:
        """Count the column that the step has written, and prepare the next one."""
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]
        self.prepare()

    def prepare(self) -> None:
        """Make sure that the next step has a column to write, in every row."""
        if self.end >= self.capacity[1]:
            self._reallocate(self.rows, width=self.width)
        self._mask[: self.rows, self.end] = True

    def join(self, prompts: Rows[Prefilled]) -> None:
        """Add a row for each prompt, after the existing rows."""
        if not prompts:
            return
        if self.cache is None:
            self._begin(prompts[0])
        lengths = [prompt[0][0].shape[2] for prompt in prompts]
        self._widen(self.rows + len(prompts), width=max(self.width, *lengths))
        for prompt, length in zip(prompts, lengths, strict=True):
            self._write(prompt, length)
        self.prepare()

    def leave(self, row: int) -> int:
        """Remove a row; return the old number of the row that has taken its place."""
        last = self.rows - 1
        if row != last:
            used = slice(self.start, self.end)
            for layer in self._layers:
                layer.keys[row, :, used] = layer.keys[last, :, used]
                layer.values[row, :, used] = layer.values[last, :, used]
            self._mask[row] = self._mask[last]
            self.lengths[row] = self.lengths[last]
        self._mask[last] = False
        self.lengths.pop()
        self.rows = last
        self.start = self.end - max(self.lengths, default=0)
        return last

    def _begin(self, prompt: Prefilled) -> None:
        self._layers = [_Layer(self) for _ in prompt]
        for layer, (keys, values) in zip(self._layers, prompt, strict=True):
            layer.begin(keys, values)
        self._mask = torch.zeros((0, 0), dtype=torch.bool, device=prompt[0][0].device)
        self.cache = Cache(layers=self._layers)

    def _write(self, prompt: Prefilled, length: int) -> None:
        row, begins = self.rows, self.end - length
        for layer, (keys, values) in zip(self._layers, prompt, strict=True):
            layer.keys[row, :, self.start : begins] = 0
            layer.values[row, :, self.start : begins] = 0
            layer.keys[row, :, begins : self.end] = keys[0]
            layer.values[row, :, begins : self.end] = values[0]
        self._mask[row] = False
        self._mask[row, begins : self.end] = True
        self.lengths.append(length)
        self.rows += 1

    def _widen(self, rows: int, *, width: int) -> None:
        """Make the rectangle this wide, with memory for this many rows."""
        if not self.rows:
            # Without rows, the columns can start anywhere.
            self.start = self.end = min(width, self.capacity[1])
        if rows > self.capacity[0] or width > self.end or self.end >= self.capacity[1]:
            self._reallocate(rows, width=width)
        elif (start := self.end - width) < self.start:
            for layer in self._layers:
                layer.keys[: self.rows, :, start : self.start] = 0
                layer.values[: self.rows, :, start : self.start] = 0
            self.start = start

    def _reallocate(self, rows: int, *, width: int) -> None:
        """Allocate new tensors layer by layer, and copy the rows; only one layer exists twice."""
        height = -(-max(rows, 1) // ROWS_AT_ONCE) * ROWS_AT_ONCE
        columns = width + SPARE_COLUMNS
        old, used = slice(self.start, self.end), slice(width - self.width, width)
        for layer in self._layers:
            for name in ("keys", "values"):
                tensor: Tensor = getattr(layer, name)
                made = tensor.new_zeros((height, tensor.shape[1], columns, tensor.shape[3]))
                made[: self.rows, :, used] = tensor[: self.rows, :, old]
                setattr(layer, name, made)
        mask = self._mask.new_zeros((height, columns))
        mask[: self.rows, used] = self._mask[: self.rows, old]
        self._mask = mask
        self.start, self.end = 0, width
