"""The distributions of the action heads, for the kernels of ``sampling`` and ``evaluation``; twin of
``nmmo_gpu.train.policy.Policy.masked``. The masks are read in place, in the observation records."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import INTERPRETED
from nmmo_gpu.world import layout as records_layout
from nmmo_gpu.world.actions import MORE_HEADS
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.movement import MOVES as MOVE_LIST

STRANGER = tl.constexpr(records_layout.STRANGER)
MOVES, STYLES = tl.constexpr(len(MOVE_LIST)), tl.constexpr(len(records_layout.STYLES))
MOVES_PADDED, STYLES_PADDED = tl.constexpr(8), tl.constexpr(4)
IMPOSSIBLE = tl.constexpr(-1e30)
AGENTS = 1024 if INTERPRETED else 64
"""Agents per program, if the longest list has at most 16 entries."""


@triton.jit
def distribution(logits, possible):
    """(log-probabilities, probabilities) of [BLOCK, n] masked logits; at least one choice is possible."""
    logits = tl.where(possible, logits, IMPOSSIBLE)
    logits = logits - tl.max(logits, 1)[:, None]
    weight = tl.where(possible, tl.exp(logits), 0.0)
    total = tl.sum(weight, 1)[:, None]
    return tl.where(possible, logits - tl.log(total), 0.0), weight / total


@triton.jit
def plain_head(
    record, row_logits, here, FIRST: tl.constexpr, MASK_AT: tl.constexpr, CHOICES: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    """``distribution`` of a head whose logits begin at ``FIRST``, its mask at ``MASK_AT``."""
    column = tl.arange(0, PADDED)[None, :]
    inside = here[:, None] & (column < CHOICES)
    free = tl.load(record + MASK_AT + column, mask=inside, other=0) != 0
    return distribution(tl.load(row_logits + FIRST + column, mask=inside, other=0.0), free | (column == 0))


@triton.jit
def price_head(
    record, row_logits, here, trade, FIRST: tl.constexpr, MASK_AT: tl.constexpr, TRADES: tl.constexpr,
    PRICES: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """``distribution`` of the prices under a trade; twin of ``nmmo_gpu.world.actions.side_of``."""
    side = (trade > 0).to(tl.int32) + (trade > TRADES // 2 - 1).to(tl.int32)
    side = tl.where(trade == TRADES - 1, 0, side)
    return plain_head(record + side[:, None] * PRICES, row_logits, here, FIRST, MASK_AT, PRICES, PADDED)


@triton.jit
def nearest_strangers(
    record, here, KIND_AT: tl.constexpr, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[BLOCK, STYLES_PADDED] int32: for each style the first row (counted from 1) with a stranger or an NPC
    in reach; 0 for none."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    first = tl.full([BLOCK, STYLES_PADDED], NEAREST, tl.int32)
    # A few rows at a time: a long block would determine how the threads share all other blocks, and
    # cumulative
    # sums over short blocks with that layout do not compile with Triton 3.6.
    for start in range(0, NEAREST, ROWS):
        k = start + tl.arange(0, ROWS)[None, :]
        inside = here[:, None] & (k < NEAREST)
        stranger = inside & (tl.load(record + KIND_AT + k, mask=inside, other=0) >= STRANGER)
        for style in tl.static_range(STYLES):
            mask = record + TARGET_AT + style * (NEAREST + 1) + 1 + k
            reached = tl.load(mask, mask=stranger, other=0) != 0
            row = tl.min(tl.where(reached & stranger, k, NEAREST), 1)[:, None]
            first = tl.where(s == style, tl.minimum(first, row), first)
    return tl.where(first < NEAREST, first + 1, 0)


@triton.jit
def style_head(record, row_logits, here, first, STYLE_AT: tl.constexpr, AUTO: tl.constexpr):
    """``distribution`` of the styles; under auto-targeting only those with a target."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    inside = here[:, None] & (s < STYLES)
    useful = first > 0
    if not AUTO:
        useful = tl.load(record + STYLE_AT + s, mask=inside, other=0) != 0
    return distribution(tl.load(row_logits + MOVES + s, mask=inside, other=0.0), useful | (s == 0))


@triton.jit
def target_head(
    record, row_logits, here, style, victim, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    TARGETS: tl.constexpr, TARGETS_PADDED: tl.constexpr, AUTO: tl.constexpr,
):  # fmt: skip
    """``distribution`` of the targets under a style; with auto-targeting, of no attack or an attack."""
    t = tl.arange(0, TARGETS_PADDED)[None, :]
    inside = here[:, None] & (t < TARGETS)
    if AUTO:
        possible = (t == 0) | ((t == 1) & (victim > 0)[:, None])
    else:
        mask = record + TARGET_AT + style[:, None] * (NEAREST + 1) + t
        possible = (t == 0) | (tl.load(mask, mask=inside, other=0) != 0)
    return distribution(tl.load(row_logits + MOVES + STYLES + t, mask=inside, other=0.0), possible)


@triton.jit
def of_style(values, style):
    """[BLOCK]: the column of [BLOCK, STYLES_PADDED] selected by a style."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    return tl.sum(tl.where(s == style[:, None], values, 0), 1)


def head_constants(layout: ObservationLayout, width: int, auto: bool) -> dict[str, Any]:
    """The kernels' constants; ``width``: logits per agent, including the value."""
    at = {name: field.offset for name, field in layout.fields.items()}
    more: dict[str, int] = {}
    sizes = []
    for name in MORE_HEADS:
        mask = layout.fields.get(f"{name}_mask")
        size = mask.shape[-1] if mask else 0
        padded = triton.next_power_of_2(size)
        word = name.upper()
        more |= {f"{word}S": size, f"{word}S_PADDED": padded, f"{word}_AT": mask.offset if mask else 0}
        sizes.append(size)
    targets = width - len(MOVE_LIST) - len(records_layout.STYLES) - sum(sizes) - 1
    nearest = layout.fields["entity_kind"].shape[0]
    longest = triton.next_power_of_2(max(16, targets, *sizes))
    return more | {
        "NEAREST": nearest, "TARGETS": targets, "AUTO": auto, "BYTES": layout.bytes,
        "KIND_AT": at["entity_kind"], "MOVE_AT": at["move_mask"], "STYLE_AT": at["style_mask"],
        "TARGET_AT": at["target_mask"], "ROWS": min(8, triton.next_power_of_2(nearest)),
        "TARGETS_PADDED": triton.next_power_of_2(targets),
        "HEADS": 3 + sum(size > 0 for size in sizes),
        "BLOCK": max(16, AGENTS * 16 // longest),
    }  # fmt: skip
