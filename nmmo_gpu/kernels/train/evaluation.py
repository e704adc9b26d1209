"""Evaluation of actions in one kernel, forward and backward; twin of the related code in
``nmmo_gpu.train.sampling``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch
from nmmo_gpu.kernels.train.heads import (
    Heads,
    agents_at_a_time,
    heads_of,
    nearest_strangers,
    of_style,
    plain_head,
    price_head,
    style_head,
    target_head,
)
from nmmo_gpu.world.observation_layout import ObservationLayout

_Joint = namedtuple("_Joint", "log_probability entropy")
"""Joint log-probability and entropy of the choices of all heads, [P, B] float32 each; in the backward pass,
their gradients."""


@triton.jit
def log_prob_and_entropy(log, probability, choice):
    """Returns (log-probability of a choice, entropy)."""
    column = tl.arange(0, log.shape[1])[None, :]
    return tl.sum(tl.where(column == choice[:, None], log, 0.0), 1), -tl.sum(probability * log, 1)


@triton.jit
def slope(log, probability, choice, grad_log, grad_entropy):
    """Returns the gradient of the logits, [BLOCK, n], given those of log-probability and entropy, [BLOCK]."""
    column = tl.arange(0, log.shape[1])[None, :]
    chosen = (column == choice[:, None]).to(tl.float32)
    entropy = -tl.sum(probability * log, 1)[:, None]
    return grad_log[:, None] * (chosen - probability) - grad_entropy[:, None] * probability * (log + entropy)


@triton.jit
def put_slope(grad_logits, log, probability, choice, by_log, by_entropy, here, head: tl.constexpr):
    """Stores ``slope`` in the gradient of a head's logits; ``grad_logits`` points to rows of all heads."""
    column = tl.arange(0, log.shape[1])[None, :]
    grad = slope(log, probability, choice, by_log, by_entropy)
    tl.store(grad_logits + head.logits + column, grad, mask=here[:, None] & (column < head.choices))


@triton.jit
def _evaluate(
    records, index, logits, choices, joint, grad_logits, rows, BACKWARD: tl.constexpr, heads: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the log-probability and entropy of choices to ``joint``, or, in the backward pass, reads their
    gradients from it and writes the gradient of the logits.

    Order-free: each row is written by one program."""
    # Triton 3.6 passes on a tuple inside a constexpr only if the tuple is a constexpr itself.
    MOVE: tl.constexpr = heads.move
    STYLE: tl.constexpr = heads.style
    TARGET: tl.constexpr = heads.target
    WORK: tl.constexpr = heads.work
    TRADE: tl.constexpr = heads.trade
    PRICE: tl.constexpr = heads.price
    TOKEN: tl.constexpr = heads.token
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = row < rows
    line = tl.load(index + row, mask=here, other=0)
    record = records + line[:, None] * heads.bytes
    row_logits = logits + row[:, None] * heads.width
    move = tl.load(choices + heads.count * line, mask=here, other=0).to(tl.int32)
    style = tl.load(choices + heads.count * line + 1, mask=here, other=0).to(tl.int32)
    target = tl.load(choices + heads.count * line + 2, mask=here, other=0).to(tl.int32)

    move_log, move_p = plain_head(record, row_logits, here, MOVE)
    first = nearest_strangers(record, here, heads, BLOCK)
    style_log, style_p = style_head(record, row_logits, here, first, heads)
    target_log, target_p = target_head(record, row_logits, here, style, of_style(first, style), heads)
    if BACKWARD:
        by_log = tl.load(joint.log_probability + row, mask=here, other=0.0)
        by_entropy = tl.load(joint.entropy + row, mask=here, other=0.0)
        into = grad_logits + row[:, None] * heads.width
        put_slope(into, move_log, move_p, move, by_log, by_entropy, here, MOVE)
        put_slope(into, style_log, style_p, style, by_log, by_entropy, here, STYLE)
        put_slope(into, target_log, target_p, target, by_log, by_entropy, here, TARGET)
        tl.store(grad_logits + row * heads.width + heads.width - 1, tl.zeros([BLOCK], tl.float32), mask=here)
    else:
        total, spread = log_prob_and_entropy(move_log, move_p, move)
        style_joint, style_spread = log_prob_and_entropy(style_log, style_p, style)
        target_joint, target_spread = log_prob_and_entropy(target_log, target_p, target)
        total = total + style_joint + target_joint
        spread = spread + style_spread + target_spread

    goods = choices + heads.count * line + 3
    if WORK.choices > 0:
        work = tl.load(goods, mask=here, other=0).to(tl.int32)
        goods += 1
        log, p = plain_head(record, row_logits, here, WORK)
        if BACKWARD:
            put_slope(into, log, p, work, by_log, by_entropy, here, WORK)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, work)
            total, spread = total + its_joint, spread + its_spread
    if TRADE.choices > 0:
        trade = tl.load(goods, mask=here, other=0).to(tl.int32)
        price = tl.load(goods + 1, mask=here, other=0).to(tl.int32)
        goods += 2
        log, p = plain_head(record, row_logits, here, TRADE)
        price_log, price_p = price_head(record, row_logits, here, trade, heads)
        if BACKWARD:
            put_slope(into, log, p, trade, by_log, by_entropy, here, TRADE)
            put_slope(into, price_log, price_p, price, by_log, by_entropy, here, PRICE)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, trade)
            price_joint, price_spread = log_prob_and_entropy(price_log, price_p, price)
            total = total + its_joint + price_joint
            spread = spread + its_spread + price_spread
    if TOKEN.choices > 0:
        token = tl.load(goods, mask=here, other=0).to(tl.int32)
        log, p = plain_head(record, row_logits, here, TOKEN)
        if BACKWARD:
            put_slope(into, log, p, token, by_log, by_entropy, here, TOKEN)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, token)
            total, spread = total + its_joint, spread + its_spread
    if not BACKWARD:
        tl.store(joint.log_probability + row, total, mask=here)
        tl.store(joint.entropy + row, spread, mask=here)


class Evaluate(torch.autograd.Function):
    """See ``evaluate``."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, heads: Heads
    ) -> tuple[Tensor, Tensor]:
        logits = logits.contiguous()
        ctx.save_for_backward(records, index, logits, choices)
        ctx.heads = heads
        joint = _Joint(*torch.empty(2, *index.shape, device=logits.device, dtype=torch.float32))
        # Only the backward pass writes a gradient; any tensor serves as a placeholder here.
        _launch(records, index, logits, choices, joint, logits, heads, backward=False)
        return joint.log_probability, joint.entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        records, index, logits, choices = ctx.saved_tensors
        grad = torch.empty_like(logits)
        joint = _Joint(*(part.contiguous() for part in grads))
        _launch(records, index, logits, choices, joint, grad, ctx.heads, backward=True)
        return None, None, grad, None, None


def _launch(
    records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, joint: _Joint, grad_logits: Tensor,
    heads: Heads, backward: bool,
) -> None:  # fmt: skip
    block, rows = agents_at_a_time(heads), index.numel()
    launch(
        _evaluate, triton.cdiv(rows, block), records, index, logits, choices, joint, grad_logits, rows,
        BACKWARD=backward, heads=heads, BLOCK=block,
    )  # fmt: skip


def evaluate(
    records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """Returns (joint log-probability [P, B], entropy [P, B]) of choices; differentiable in the logits.

    Args:
        records: [N, bytes] uint8.
        index: [P, B] int64, rows of ``records``.
        logits: as for ``nmmo_gpu.kernels.train.sampling.choose``.
        choices: [N, heads] int16, one row per record.
        layout: the layout of the records.
        auto: whether targets are chosen automatically, as for ``choose``.
    """
    heads = heads_of(layout, logits.shape[-1], auto)
    out: tuple[Tensor, Tensor] = Evaluate.apply(records, index.contiguous(), logits, choices, heads)
    return out
