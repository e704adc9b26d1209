"""Distributions of the action heads, for the kernels of ``sampling`` and ``evaluation``; twin of
``nmmo_gpu.train.output.mask_logits``. The masks are read directly from the observation records."""

from __future__ import annotations

from collections import namedtuple

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import INTERPRETED
from nmmo_gpu.world import observation_layout
from nmmo_gpu.world.actions import MORE_HEADS
from nmmo_gpu.world.movement import MOVES as MOVE_LIST
from nmmo_gpu.world.observation_layout import ObservationLayout

Head = namedtuple("Head", "mask logits choices padded")
"""An action head: the offset of its mask in a record, the index of its first logit, its number of choices (0
if the head does not exist), and the next power of two of that number."""
Heads = namedtuple(
    "Heads",
    "move style target work trade price token count width auto bytes entity_kind nearest rows",
)
"""All heads; the number of heads; logits per agent, including the value; whether targets are chosen
automatically; the length of a record, the offset of the entity table's kinds in it, the number of rows of
that table, and the number of rows that are read at a time."""

STRANGER = tl.constexpr(observation_layout.STRANGER)
STYLES, STYLES_PADDED = tl.constexpr(len(observation_layout.STYLES)), tl.constexpr(4)
IMPOSSIBLE = tl.constexpr(-1e30)
AGENTS = 1024 if INTERPRETED else 64
"""Agents per program, if no head has more than 16 choices."""


@triton.jit
def distribution(logits, possible):
    """Returns (log-probabilities, probabilities) of [BLOCK, n] logits; at least one choice is possible."""
    logits = tl.where(possible, logits, IMPOSSIBLE)
    logits = logits - tl.max(logits, 1)[:, None]
    weight = tl.where(possible, tl.exp(logits), 0.0)
    total = tl.sum(weight, 1)[:, None]
    return tl.where(possible, logits - tl.log(total), 0.0), weight / total


@triton.jit
def plain_head(record, row_logits, here, head: tl.constexpr):
    """``distribution`` of a head whose mask does not depend on other heads."""
    column = tl.arange(0, head.padded)[None, :]
    inside = here[:, None] & (column < head.choices)
    free = tl.load(record + head.mask + column, mask=inside, other=0) != 0
    logits = tl.load(row_logits + head.logits + column, mask=inside, other=0.0)
    return distribution(logits, free | (column == 0))


@triton.jit
def price_head(record, row_logits, here, trade, heads: tl.constexpr):
    """``distribution`` of the prices given a trade; twin of ``nmmo_gpu.world.actions.side_of``."""
    side = (trade > 0).to(tl.int32) + (trade > heads.trade.choices // 2 - 1).to(tl.int32)
    side = tl.where(trade == heads.trade.choices - 1, 0, side)
    HEAD: tl.constexpr = heads.price
    return plain_head(record + side[:, None] * HEAD.choices, row_logits, here, HEAD)


@triton.jit
def nearest_strangers(record, here, heads: tl.constexpr, BLOCK: tl.constexpr):
    """[BLOCK, STYLES_PADDED] int32: for each style the first row (counted from 1) with a stranger or an NPC
    in reach; 0 for none."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    first = tl.full([BLOCK, STYLES_PADDED], heads.nearest, tl.int32)
    # Rows are read a few at a time: a long block would determine the thread layout of all other blocks, and
    # with that layout, cumulative sums over short blocks do not compile with Triton 3.6.
    for start in range(0, heads.nearest, heads.rows):
        k = start + tl.arange(0, heads.rows)[None, :]
        inside = here[:, None] & (k < heads.nearest)
        stranger = inside & (tl.load(record + heads.entity_kind + k, mask=inside, other=0) >= STRANGER)
        for style in tl.static_range(STYLES):
            mask = record + heads.target.mask + style * (heads.nearest + 1) + 1 + k
            reached = tl.load(mask, mask=stranger, other=0) != 0
            row = tl.min(tl.where(reached & stranger, k, heads.nearest), 1)[:, None]
            first = tl.where(s == style, tl.minimum(first, row), first)
    return tl.where(first < heads.nearest, first + 1, 0)


@triton.jit
def style_head(record, row_logits, here, first, heads: tl.constexpr):
    """``distribution`` of the styles; under auto-targeting only those with a target."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    inside = here[:, None] & (s < STYLES)
    useful = first > 0
    if not heads.auto:
        useful = tl.load(record + heads.style.mask + s, mask=inside, other=0) != 0
    logits = tl.load(row_logits + heads.style.logits + s, mask=inside, other=0.0)
    return distribution(logits, useful | (s == 0))


@triton.jit
def target_head(record, row_logits, here, style, victim, heads: tl.constexpr):
    """``distribution`` of the targets given a style; under auto-targeting, of no attack and an attack."""
    t = tl.arange(0, heads.target.padded)[None, :]
    inside = here[:, None] & (t < heads.target.choices)
    if heads.auto:
        possible = (t == 0) | ((t == 1) & (victim > 0)[:, None])
    else:
        mask = record + heads.target.mask + style[:, None] * (heads.nearest + 1) + t
        possible = (t == 0) | (tl.load(mask, mask=inside, other=0) != 0)
    return distribution(tl.load(row_logits + heads.target.logits + t, mask=inside, other=0.0), possible)


@triton.jit
def of_style(values, style):
    """Returns [BLOCK]: in each row of [BLOCK, STYLES_PADDED] values, the value of the given style."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    return tl.sum(tl.where(s == style[:, None], values, 0), 1)


def heads_of(layout: ObservationLayout, width: int, auto: bool) -> Heads:
    """Returns the heads that ``width`` logits per agent, including the value, consist of."""
    masks = {name: layout.fields.get(f"{name}_mask") for name in MORE_HEADS}
    sizes = {name: mask.shape[-1] if mask else 0 for name, mask in masks.items()}
    moves, styles = len(MOVE_LIST), len(observation_layout.STYLES)
    targets = width - moves - styles - sum(sizes.values()) - 1
    sizes = {"move": moves, "style": styles, "target": targets} | sizes
    heads: dict[str, Head] = {}
    logits = 0
    for name, choices in sizes.items():
        mask = layout.fields.get(f"{name}_mask")
        heads[name] = Head(mask.offset if mask else 0, logits, choices, triton.next_power_of_2(choices))
        logits += choices
    nearest = layout.fields["entity_kind"].shape[0]
    return Heads(
        **heads, count=sum(choices > 0 for choices in sizes.values()), width=width, auto=auto,
        bytes=layout.bytes, entity_kind=layout.fields["entity_kind"].offset, nearest=nearest,
        rows=min(8, triton.next_power_of_2(nearest)),
    )  # fmt: skip


def agents_at_a_time(heads: Heads) -> int:
    """Returns the number of agents per program."""
    lists = heads.target, heads.work, heads.trade, heads.price, heads.token
    longest: int = triton.next_power_of_2(max(16, *(head.choices for head in lists)))
    return max(16, AGENTS * 16 // longest)
