"""Terrain as compiled loops; twin of ``nmmo_gpu.world.terrain.fill``.

Every operation rounds as in torch: float64 up to the position within a lattice cell, then float32, in the
same order. The loop over columns has no branches, so that it is vectorized."""

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import chunks, parallel
from nmmo_gpu.world import terrain as rule

OCTAVES = rule.OCTAVES
BLOCK = rule.BLOCK
SKEW = rule.SKEW
UNSKEW, AMPLITUDE = np.float32(rule.UNSKEW), np.float32(rule.AMPLITUDE)
BOTH = np.float32(1.0 - 2.0 * rule.UNSKEW)
REACH = np.float32(rule.EDGE**2)
STEP_I, STEP_J = np.int64(rule.STEP_I), np.int64(rule.STEP_J)
MIX_1, MIX_2 = np.int64(rule.MIX_1), np.int64(rule.MIX_2)
HALF, TOP = np.int64(32), np.uint64(59)
GRADIENT_X, GRADIENT_Y = rule.GRADIENT_X.numpy(), rule.GRADIENT_Y.numpy()
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
KINDS = np.array(rule.KINDS, np.uint8)

BATCH = 256
"""Maps at once: the coordinates of their areas take up to 20 MB."""
MIN_LINES = 16
"""Minimum number of rows of tiles per task."""


@compiled(inline="always", allocates=False)
def _corner(x, y, code):
    """The contribution of one lattice point."""
    code = code * MIX_1
    code = (code ^ (code >> HALF)) * MIX_2
    direction = np.uint64(code) >> TOP
    weight = max(REACH - x * x - y * y, ZERO)
    weight *= weight
    weight *= weight
    return weight * (GRADIENT_X[direction] * x + GRADIENT_Y[direction] * y)


@compiled(inline="always", allocates=False)
def _simplex(row, column, key):
    """2-D simplex noise at one place."""
    skew = (row + column) * SKEW
    v, u = row + skew, column + skew
    i, j = np.floor(v), np.floor(u)
    cell = np.int64(i) * STEP_I + np.int64(j) * STEP_J
    v, u = np.float32(v - i), np.float32(u - j)
    unskew = (u + v) * UNSKEW
    y, x = v - unskew, u - unskew

    right = u > v
    mid_j = ONE if right else ZERO
    mid_i = ONE - mid_j
    near, far, middle = min(u, v), ONE - max(u, v), abs(u - v)
    drop_both = ONE if (near < far) & (near < middle) else ZERO
    drop_mid = ONE if (middle <= near) & (middle <= far) else ZERO
    last_i = ONE + mid_i - TWO * (drop_both + drop_mid * mid_i)
    last_j = ONE + mid_j - TWO * (drop_both + drop_mid * mid_j)

    total = _corner(x, y, cell ^ key)
    total += _corner(x - BOTH, y - BOTH, (cell + (STEP_I + STEP_J)) ^ key)
    mid_cell = cell + (STEP_J if right else STEP_I)
    total += _corner(x - mid_j + UNSKEW, y - mid_i + UNSKEW, mid_cell ^ key)
    last = (last_i + last_j) * UNSKEW
    last_cell = np.int64(last_i) * STEP_I + np.int64(last_j) * STEP_J + cell
    total += _corner(x - last_j + last, y - last_i + last, last_cell ^ key)
    return total * AMPLITUDE


@compiled(allocates=False)
def _line(row, columns, keys, out):
    """The noise of one row of tiles: ``columns`` [w] to ``out`` [w]."""
    for octave in range(OCTAVES):
        scale, weight = 2.0**octave, np.float32(0.5**octave)
        y, key = row * scale, keys[octave]
        for c in range(len(out)):
            value = (ONE - abs(_simplex(y, columns[c] * scale, key))) * weight
            out[c] = value if octave == 0 else value * out[c] + out[c]


@compiled
def _maxima(row, column, keys, out, low, high):
    """Of blocks ``low`` to ``high``: the maps' blocks in turn."""
    blocks = row.shape[1]
    line = np.empty(BLOCK, np.float32)
    for block in range(low, high):
        n, b = block // blocks, block % blocks
        peak = ZERO
        for r in range(BLOCK):
            _line(row[n, b, r], column[n, b], keys[n], line)
            peak = max(peak, line.max())
        out[n, b] = peak


@compiled
def _kinds(row, column, keys, thresholds, maps, border, low, high):
    """Rows ``low`` to ``high`` inside the ring, those of all maps in turn."""
    height, width = row.shape[1], column.shape[1]
    line = np.empty(width, np.float32)
    for number in range(low, high):
        n, r = number // height, number % height
        _line(row[n, r], column[n], keys[n], line)
        out = maps[n, border + 1 + r]
        first, second, third = thresholds[n]
        for c in range(width):
            value = line[c]
            kind = np.int64(value >= first) + np.int64(value >= second) + np.int64(value >= third)
            out[border + 1 + c] = KINDS[kind]


def fill(maps: Tensor, seed: int, first: int, border: int) -> None:
    """Twin of ``nmmo_gpu.world.terrain.fill``."""
    for start in range(0, len(maps), BATCH):
        _fill(maps[start : start + BATCH], seed, first + start, border)


def _fill(maps: Tensor, seed: int, first: int, border: int) -> None:
    count, height, width = maps.shape
    field = rule.Field(seed, first, count)
    keys, out = field.keys.numpy(), maps.numpy()
    rows, columns = field.blocks(height, width)
    maxima = torch.empty(rows.shape[:2], dtype=torch.float32, device="cpu")
    blocks = (rows.numpy(), columns.numpy(), keys, maxima.numpy())
    parallel(_maxima, [(*blocks, *piece) for piece in chunks(maxima.numel(), 1)])
    thresholds = rule.thresholds(rule.mean(maxima)).numpy()
    rows, columns = field.inside(height, width, border)
    inside = (rows.numpy(), columns.numpy(), keys, thresholds, out, border)
    parallel(_kinds, [(*inside, *piece) for piece in chunks(rows.numel(), MIN_LINES)])
