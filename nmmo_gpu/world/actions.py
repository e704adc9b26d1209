"""Actions: the heads, and the decoding of their choices."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import STOCK_HEADS
from nmmo_gpu.content import WORKS
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STYLES


def action_heads(config: WorldConfig) -> dict[str, int]:
    """Returns ``name -> number of choices`` of every head of an action, in order.

    The choices are:

    - move: stay, east, south, west, north.
    - style: melee, range, mage.
    - target: none, or a row of the entity table, counted from 1.
    - work: ``WORKS``.
    - trade: nothing, sell item i (1 + i), buy item i (1 + items + i), withdraw (the last).
    - price: index into the prices.
    - token: the token to say, 0 for silence.

    The last four heads exist if what they need is on. After them come the heads of ``config.systems``."""
    sizes = {"move": len(MOVES), "style": len(STYLES), "target": config.nearest + 1}
    if config.works:
        sizes["work"] = len(WORKS)
    if config.exchange:
        sizes["trade"] = 2 * len(config.content.items) + 2
        sizes["price"] = len(config.content.prices)
    if config.tokens:
        sizes["token"] = config.tokens
    for system in config.systems:
        sizes |= {name: spec.choices for name, spec in system.actions(config).items()}
    return sizes


class StepActions(NamedTuple):
    """The actions of all entities in a tick."""

    style: Tensor
    """[R, S] integers."""
    target: Tensor
    """[R, S] integers: slot, -1 for none."""
    work: Tensor | None = None
    """[R, A] integers; None without works."""


class Choices(NamedTuple):
    """The choices of all agents, [R, A] integers each; None for heads that do not exist."""

    move: Tensor
    style: Tensor
    target: Tensor
    """Slot, or -1 for none."""
    work: Tensor | None = None
    trade: Tensor | None = None
    price: Tensor | None = None
    token: Tensor | None = None
    others: dict[str, Tensor] | None = None
    """Choices of the heads of systems, by name."""


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


MORE_HEADS = STOCK_HEADS[3:]
"""Heads of the full game, in order; each exists if what it needs is on."""


def decode(actions: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(move, style, target slot or -1 for none), each [R, A] int64.

    Args:
        actions: [R, A, 3 or more] of any integer dtype: move, style, and target as a row of the entity table
            (counted from 1; 0 for none); further heads are ignored.
        seen: [R, A, nearest] int32: slot of each row; -1 for none.
    """
    move, style, row = actions[..., :3].to(torch.int64).unbind(-1)
    slot = seen.gather(-1, (row - 1).clamp_(min=0)[..., None]).squeeze(-1)
    return move, style, torch.where(row > 0, slot.long(), -1)


def choices(config: WorldConfig, actions: Tensor, first: tuple[Tensor, Tensor, Tensor]) -> Choices:
    """All choices from [R, A, heads] actions, of which the first three are already decoded."""
    more = {name: actions[..., i] for i, name in enumerate(action_heads(config)) if i >= 3}
    stock = {name: more.pop(name) for name in MORE_HEADS if name in more}
    return Choices(*first, **stock, others=more or None)


def row_of(mask: Tensor, row: Tensor) -> Tensor:
    """[..., n]: the selected row ([...] int64) of masks [..., rows, n], such as that of a style."""
    return mask.gather(-2, row[..., None, None].expand(*row.shape, 1, mask.shape[-1])).squeeze(-2)


def side_of(trade: Tensor, trades: int) -> Tensor:
    """Row of a price mask for [...] trades: 0 for none and for withdrawing, 1 for selling, 2 for buying.

    ``trades``: number of choices, 2 * items + 2."""
    items = trades // 2 - 1
    return torch.where(trade == trades - 1, 0, (trade > 0).to(trade.dtype) + (trade > items))
