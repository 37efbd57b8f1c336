"""The keys and values of all rows that grow together, in one left-padded rectangle.

               columns      start              end
    row 0                    .  .  k  k  k  k  k |     a row ends where all end;
    row 1                    k  k  k  k  k  k  k |     the longest begins at `start`;
    row 2                    .  .  .  .  k  k  k |     what is left of a row is masked

A step writes one column at `end` in place.  A row leaves by the last one taking its place; a new
one is written behind them.  Columns that nobody needs are left out by moving `start`.  The
tensors are made anew, a little larger than needed, only when a side of the rectangle is reached:
transformers' DynamicCache makes them anew at every step.

What is inside the rectangle is always a number.  A masked NaN would still spoil its row, since
zero times NaN is NaN, and what a failed row left behind must not spoil the next one.
"""

from collections.abc import Sequence as Rows
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

#: Columns that new tensors have to spare: so many steps until they are made anew.
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
        """Take device, type and sizes from the first prompt."""
        self.keys = keys.new_zeros((0, keys.shape[1], 0, keys.shape[3]))
        self.values = values.new_zeros((0, values.shape[1], 0, values.shape[3]))
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True


class Grid:
    """The rectangle; its rows are counted from 0 in the order in which they joined, less moves."""

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
        """Columns that are in use."""
        return self.end - self.start

    @property
    def capacity(self) -> tuple[int, int]:
        """Rows and columns for which there is memory."""
        return self._mask.shape[0], self._mask.shape[1]

    def mask(self) -> Tensor:
        """Return which columns each row has, the one of the coming step included."""
        return self._mask[: self.rows, self.start : self.end + 1]

    def advance(self) -> None:
        """Count the column that the step has written, and have room for the next one."""
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]
        self.prepare()

    def prepare(self) -> None:
        """See that the coming step has a column to write, which belongs to every row."""
        if self.end >= self.capacity[1]:
            self._remake(self.rows, width=self.width)
        self._mask[: self.rows, self.end] = True

    def join(self, prompts: Rows[Prefilled]) -> None:
        """Add a row for each prompt, behind those that are there."""
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
        """Remove a row; return the number of the row that has taken its place."""
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
        """Make the rectangle this wide, and have room for so many rows."""
        if not self.rows:
            # Nobody is there whose columns would have to stay where they are.
            self.start = self.end = min(width, self.capacity[1])
        if rows > self.capacity[0] or width > self.end or self.end >= self.capacity[1]:
            self._remake(rows, width=width)
        elif (start := self.end - width) < self.start:
            for layer in self._layers:
                layer.keys[: self.rows, :, start : self.start] = 0
                layer.values[: self.rows, :, start : self.start] = 0
            self.start = start

    def _remake(self, rows: int, *, width: int) -> None:
        """Make the tensors anew, one layer after the other, for the rows that there are now."""
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
