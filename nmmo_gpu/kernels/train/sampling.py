"""Sampling of actions in one kernel; twin of ``nmmo_gpu.train.sampling`` and of the related code in
``nmmo_gpu.train.trinity.Sword``."""

from __future__ import annotations

from collections import namedtuple
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import fields_of, launch
from nmmo_gpu.kernels.random import draw, unit
from nmmo_gpu.kernels.train.heads import (
    MOVES,
    MOVES_PADDED,
    STYLES,
    head_constants,
    nearest_strangers,
    of_style,
    plain_head,
    price_head,
    style_head,
    target_head,
)  # fmt: skip
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_Fields = namedtuple("_Fields", "seed tick alive")

STREAM, STREAM_GOODS = tl.constexpr(int(Stream.POLICY)), tl.constexpr(int(Stream.POLICY_GOODS))


class Chosen(NamedTuple):
    """The choices of all slots; zeros for empty slots."""

    actions: Tensor
    """[N, heads] int16, for ``Env.step``."""
    choices: Tensor
    """[N, heads] int16: the choice of each head."""
    log_probability: Tensor
    """[N] float32, of the joint choice."""
    value: Tensor
    """[N] float32."""


@triton.jit
def pick(log, probability, uniform):
    """Samples by inverse CDF; returns (choice, its log-probability)."""
    column = tl.arange(0, log.shape[1])[None, :]
    # Rounding can leave the last entry below the draw; the choice is then the last possible one.
    last = tl.max(tl.where(probability > 0.0, column, 0), 1)
    # Each thread of a warp computes these sums in its own order, so one can be below the previous one, or
    # above it where nothing was added. Impossible choices are therefore excluded explicitly.
    beyond = (probability > 0.0) & (tl.cumsum(probability, 1) > uniform[:, None])
    choice = tl.min(tl.where(beyond, column, last[:, None]), 1)
    return choice, tl.sum(tl.where(column == choice[:, None], log, 0.0), 1)


@triton.jit
def put(choices, actions, choice, action, living, here):
    """Stores a choice, and the action that it means; 0 for dead agents."""
    tl.store(choices, tl.where(living, choice, 0).to(tl.int16), mask=here)
    tl.store(actions, tl.where(living, action, 0).to(tl.int16), mask=here)


@triton.jit
def _choose(
    world, records, index, logits, actions, choices, log_probability, value,
    rows, blocks, slots,
    NPCS: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr, BYTES: tl.constexpr,
    KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr, TARGET_AT: tl.constexpr,
    ROWS: tl.constexpr, TARGETS_PADDED: tl.constexpr,
    WORKS: tl.constexpr, TRADES: tl.constexpr, PRICES: tl.constexpr, TOKENS: tl.constexpr,
    WORK_AT: tl.constexpr, TRADE_AT: tl.constexpr, PRICE_AT: tl.constexpr, TOKEN_AT: tl.constexpr,
    WORKS_PADDED: tl.constexpr, TRADES_PADDED: tl.constexpr, PRICES_PADDED: tl.constexpr,
    TOKENS_PADDED: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each agent is in one row of ``index``, and is written by that row's program."""
    WORK_FROM: tl.constexpr = MOVES + STYLES + TARGETS
    TRADE_FROM: tl.constexpr = WORK_FROM + WORKS
    PRICE_FROM: tl.constexpr = TRADE_FROM + TRADES
    TOKEN_FROM: tl.constexpr = PRICE_FROM + PRICES
    WIDTH: tl.constexpr = TOKEN_FROM + TOKENS + 1
    program = tl.program_id(0)
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    here = column < rows
    row = (program // blocks).to(tl.int64) * rows + column
    agent = tl.load(index + row, mask=here, other=0)
    being = agent + agent // slots * NPCS
    living = here & (tl.load(world.alive + being, mask=here, other=0) != 0)
    w0, w1, w2, _ = draw(world, STREAM, agent // slots, agent % slots)
    record = records + agent[:, None] * BYTES
    row_logits = logits + row[:, None] * WIDTH

    log, probability = plain_head(record, row_logits, living, 0, MOVE_AT, MOVES, MOVES_PADDED)
    move, joint = pick(log, probability, unit(w0))
    first = nearest_strangers(record, living, KIND_AT, TARGET_AT, NEAREST, ROWS, BLOCK)
    style_log, style_probability = style_head(record, row_logits, living, first, STYLE_AT, AUTO)
    style, chosen_log = pick(style_log, style_probability, unit(w1))
    joint += chosen_log
    victim = of_style(first, style)
    target_log, target_probability = target_head(
        record, row_logits, living, style, victim, TARGET_AT, NEAREST, TARGETS, TARGETS_PADDED, AUTO
    )
    target, aimed_log = pick(target_log, target_probability, unit(w2))
    joint += aimed_log
    aim = target
    if AUTO:
        aim = target * victim

    put(choices + HEADS * agent, actions + HEADS * agent, move, move, living, here)
    put(choices + HEADS * agent + 1, actions + HEADS * agent + 1, style, style, living, here)
    put(choices + HEADS * agent + 2, actions + HEADS * agent + 2, target, aim, living, here)

    # The heads of the full game, if they exist.
    goods, bids = choices + HEADS * agent + 3, actions + HEADS * agent + 3
    if HEADS > 3:
        w0, w1, w2, w3 = draw(world, STREAM_GOODS, agent // slots, agent % slots)
    if WORKS > 0:
        log, probability = plain_head(record, row_logits, living, WORK_FROM, WORK_AT, WORKS, WORKS_PADDED)
        work, chosen_log = pick(log, probability, unit(w0))
        joint += chosen_log
        put(goods, bids, work, work, living, here)
        goods, bids = goods + 1, bids + 1
    if TRADES > 0:
        log, probability = plain_head(record, row_logits, living, TRADE_FROM, TRADE_AT, TRADES, TRADES_PADDED)
        trade, chosen_log = pick(log, probability, unit(w1))
        joint += chosen_log
        put(goods, bids, trade, trade, living, here)
        log, probability = price_head(
            record, row_logits, living, trade, PRICE_FROM, PRICE_AT, TRADES, PRICES, PRICES_PADDED
        )
        price, chosen_log = pick(log, probability, unit(w2))
        joint += chosen_log
        put(goods + 1, bids + 1, price, price, living, here)
        goods, bids = goods + 2, bids + 2
    if TOKENS > 0:
        log, probability = plain_head(record, row_logits, living, TOKEN_FROM, TOKEN_AT, TOKENS, TOKENS_PADDED)
        token, chosen_log = pick(log, probability, unit(w3))
        joint += chosen_log
        put(goods, bids, token, token, living, here)

    tl.store(log_probability + agent, tl.where(living, joint, 0.0), mask=here)
    tl.store(value + agent, tl.load(logits + row * WIDTH + WIDTH - 1, mask=living, other=0.0), mask=here)


def choose(
    world: World, records: Tensor, index: Tensor, logits: Tensor, layout: ObservationLayout, auto: bool
) -> Chosen:
    """Samples the actions of all living agents.

    Args:
        records: [N, bytes] uint8. index: [P, B] int64, a permutation of the N agents.
        logits: [P, B, 5 + 3 + targets + more + 1] float32: moves, styles, targets, then works, trades, prices
            and tokens if the layout has masks for them, value; not masked.
        auto: the target is the nearest stranger or NPC in reach of the chosen style, and the target head
            decides whether to attack it; otherwise it chooses among none and the rows of the entity table.
    """
    agents, (populations, rows) = index.numel(), index.shape
    constants = head_constants(layout, logits.shape[-1], auto)
    heads = constants["HEADS"]

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=records.device)

    chosen = Chosen(
        empty(agents, heads, dtype=torch.int16), empty(agents, heads, dtype=torch.int16),
        empty(agents), empty(agents),
    )  # fmt: skip
    blocks = triton.cdiv(rows, constants["BLOCK"])
    launch(
        _choose, populations * blocks, fields_of(_Fields, world), records, index.contiguous(),
        logits.contiguous(), *chosen, rows, blocks, world.config.slots,
        NPCS=world.config.npc_slots, **constants,
    )  # fmt: skip
    return chosen
