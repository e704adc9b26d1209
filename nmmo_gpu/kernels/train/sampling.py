"""Sampling of actions in one kernel; twin of ``nmmo_gpu.train.sampling`` and of the related code in
``nmmo_gpu.train.trinity.Sword``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import fields_of, launch
from nmmo_gpu.kernels.random import draw, unit
from nmmo_gpu.kernels.train.heads import (
    agents_at_a_time,
    heads_of,
    nearest_strangers,
    of_style,
    plain_head,
    price_head,
    style_head,
    target_head,
)
from nmmo_gpu.world.actions import Chosen as Chosen
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_Fields = namedtuple("_Fields", "seed tick alive")

STREAM, STREAM_GOODS = tl.constexpr(int(Stream.POLICY)), tl.constexpr(int(Stream.POLICY_GOODS))


@triton.jit
def pick(log, probability, uniform):
    """Samples by inverse CDF; returns (choice, its log-probability)."""
    column = tl.arange(0, log.shape[1])[None, :]
    # Rounding can leave the last entry below the random number; the choice is then the last possible one.
    last = tl.max(tl.where(probability > 0.0, column, 0), 1)
    # The threads of a warp add in different orders, so a cumulative sum can be below the previous one, or
    # above it if the added probability is 0. Impossible choices are therefore excluded explicitly.
    beyond = (probability > 0.0) & (tl.cumsum(probability, 1) > uniform[:, None])
    choice = tl.min(tl.where(beyond, column, last[:, None]), 1)
    return choice, tl.sum(tl.where(column == choice[:, None], log, 0.0), 1)


@triton.jit
def put(choices, actions, choice, action, living, here):
    """Stores a choice and the corresponding action; 0 for dead agents."""
    tl.store(choices, tl.where(living, choice, 0).to(tl.int16), mask=here)
    tl.store(actions, tl.where(living, action, 0).to(tl.int16), mask=here)


@triton.jit
def _choose(
    world, records, index, logits, chosen, rows, blocks, slots, NPCS: tl.constexpr, heads: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each agent is in at most one row of ``index``, and is written by that row's program."""
    # Triton 3.6 passes on a tuple inside a constexpr only if the tuple is a constexpr itself.
    MOVE: tl.constexpr = heads.move
    WORK: tl.constexpr = heads.work
    TRADE: tl.constexpr = heads.trade
    TOKEN: tl.constexpr = heads.token
    program = tl.program_id(0)
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    here = column < rows
    row = (program // blocks).to(tl.int64) * rows + column
    agent = tl.load(index + row, mask=here, other=0)
    being = agent + agent // slots * NPCS
    living = here & (tl.load(world.alive + being, mask=here, other=0) != 0)
    w0, w1, w2, _ = draw(world, STREAM, agent // slots, agent % slots)
    record = records + agent[:, None] * heads.bytes
    row_logits = logits + row[:, None] * heads.width

    log, probability = plain_head(record, row_logits, living, MOVE)
    move, joint = pick(log, probability, unit(w0))
    first = nearest_strangers(record, living, heads, BLOCK)
    style_log, style_probability = style_head(record, row_logits, living, first, heads)
    style, chosen_log = pick(style_log, style_probability, unit(w1))
    joint += chosen_log
    victim = of_style(first, style)
    target_log, target_probability = target_head(record, row_logits, living, style, victim, heads)
    target, aimed_log = pick(target_log, target_probability, unit(w2))
    joint += aimed_log
    aim = target
    if heads.auto:
        aim = target * victim

    choices, actions = chosen.choices + heads.count * agent, chosen.actions + heads.count * agent
    put(choices, actions, move, move, living, here)
    put(choices + 1, actions + 1, style, style, living, here)
    put(choices + 2, actions + 2, target, aim, living, here)

    # The heads of the full game, if they exist.
    goods, bids = choices + 3, actions + 3
    if heads.count > 3:
        w0, w1, w2, w3 = draw(world, STREAM_GOODS, agent // slots, agent % slots)
    if WORK.choices > 0:
        log, probability = plain_head(record, row_logits, living, WORK)
        work, chosen_log = pick(log, probability, unit(w0))
        joint += chosen_log
        put(goods, bids, work, work, living, here)
        goods, bids = goods + 1, bids + 1
    if TRADE.choices > 0:
        log, probability = plain_head(record, row_logits, living, TRADE)
        trade, chosen_log = pick(log, probability, unit(w1))
        joint += chosen_log
        put(goods, bids, trade, trade, living, here)
        log, probability = price_head(record, row_logits, living, trade, heads)
        price, chosen_log = pick(log, probability, unit(w2))
        joint += chosen_log
        put(goods + 1, bids + 1, price, price, living, here)
        goods, bids = goods + 2, bids + 2
    if TOKEN.choices > 0:
        log, probability = plain_head(record, row_logits, living, TOKEN)
        token, chosen_log = pick(log, probability, unit(w3))
        joint += chosen_log
        put(goods, bids, token, token, living, here)

    tl.store(chosen.log_probability + agent, tl.where(living, joint, 0.0), mask=here)
    value = tl.load(logits + row * heads.width + heads.width - 1, mask=living, other=0.0)
    tl.store(chosen.value + agent, value, mask=here)


def choose(
    world: World, records: Tensor, index: Tensor, logits: Tensor, layout: ObservationLayout, auto: bool
) -> Chosen:
    """Samples the actions of living agents; those of the other slots are 0.

    Args:
        world: read for ``alive``, ``seed`` and ``tick``.
        records: [N, bytes] uint8.
        index: [P, B] int64, different agents among the N; the results of all others are 0.
        logits: [P, B, 5 + 3 + targets + more + 1] float32: moves, styles, targets, then works, trades, prices
            and tokens if the layout has masks for them, value; not masked.
        layout: the layout of the records.
        auto: if true, the target is the nearest stranger or NPC in reach of the chosen style, and the target
            head decides whether to attack it; otherwise, the head chooses none or a row of the entity table.
    """
    agents, (populations, rows) = len(records), index.shape
    heads = heads_of(layout, logits.shape[-1], auto)
    block = agents_at_a_time(heads)

    integers = torch.empty(2, agents, heads.count, dtype=torch.int16, device=records.device)
    floats = torch.empty(2, agents, dtype=torch.float32, device=records.device)
    if index.numel() < agents:  # agents that are not in the index are not written
        integers.zero_()
        floats.zero_()
    chosen = Chosen(*integers, *floats)
    blocks = triton.cdiv(rows, block)
    launch(
        _choose, populations * blocks, fields_of(_Fields, world), records, index.contiguous(),
        logits.contiguous(), chosen, rows, blocks, world.config.slots,
        NPCS=world.config.npc_slots, heads=heads, BLOCK=block,
    )  # fmt: skip
    return chosen
