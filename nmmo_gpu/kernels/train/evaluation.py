"""Evaluation of actions in one kernel, forward and backward; twin of the related code in
``nmmo_gpu.train.sampling``."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch
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


@triton.jit
def log_prob_and_entropy(log, probability, choice):
    """(log-probability of a choice, entropy)."""
    column = tl.arange(0, log.shape[1])[None, :]
    return tl.sum(tl.where(column == choice[:, None], log, 0.0), 1), -tl.sum(probability * log, 1)


@triton.jit
def slope(log, probability, choice, grad_log, grad_entropy):
    """The gradient of the logits, [BLOCK, n], from those of log-probability and entropy, [BLOCK]."""
    column = tl.arange(0, log.shape[1])[None, :]
    chosen = (column == choice[:, None]).to(tl.float32)
    entropy = -tl.sum(probability * log, 1)[:, None]
    return grad_log[:, None] * (chosen - probability) - grad_entropy[:, None] * probability * (log + entropy)


@triton.jit
def put_slope(into, log, probability, choice, by_log, by_entropy, here, CHOICES: tl.constexpr):
    """Stores ``slope`` in the gradient of a head's logits."""
    column = tl.arange(0, log.shape[1])[None, :]
    grad = slope(log, probability, choice, by_log, by_entropy)
    tl.store(into + column, grad, mask=here[:, None] & (column < CHOICES))


@triton.jit
def _evaluate(
    records, index, logits, choices, log_probability, entropy, grad_log, grad_entropy, grad_logits, rows,
    BACKWARD: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr,
    BYTES: tl.constexpr, KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr,
    TARGET_AT: tl.constexpr, ROWS: tl.constexpr, TARGETS_PADDED: tl.constexpr,
    WORKS: tl.constexpr, TRADES: tl.constexpr, PRICES: tl.constexpr, TOKENS: tl.constexpr,
    WORK_AT: tl.constexpr, TRADE_AT: tl.constexpr, PRICE_AT: tl.constexpr, TOKEN_AT: tl.constexpr,
    WORKS_PADDED: tl.constexpr, TRADES_PADDED: tl.constexpr, PRICES_PADDED: tl.constexpr,
    TOKENS_PADDED: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Log-probability and entropy of choices, or, in the backward pass, the gradient of the logits.

    Order-free: each row is written by one program."""
    WORK_FROM: tl.constexpr = MOVES + STYLES + TARGETS
    TRADE_FROM: tl.constexpr = WORK_FROM + WORKS
    PRICE_FROM: tl.constexpr = TRADE_FROM + TRADES
    TOKEN_FROM: tl.constexpr = PRICE_FROM + PRICES
    WIDTH: tl.constexpr = TOKEN_FROM + TOKENS + 1
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = row < rows
    line = tl.load(index + row, mask=here, other=0)
    record = records + line[:, None] * BYTES
    row_logits = logits + row[:, None] * WIDTH
    move = tl.load(choices + HEADS * line, mask=here, other=0).to(tl.int32)
    style = tl.load(choices + HEADS * line + 1, mask=here, other=0).to(tl.int32)
    target = tl.load(choices + HEADS * line + 2, mask=here, other=0).to(tl.int32)

    move_log, move_p = plain_head(record, row_logits, here, 0, MOVE_AT, MOVES, MOVES_PADDED)
    first = nearest_strangers(record, here, KIND_AT, TARGET_AT, NEAREST, ROWS, BLOCK)
    style_log, style_p = style_head(record, row_logits, here, first, STYLE_AT, AUTO)
    target_log, target_p = target_head(
        record,
        row_logits,
        here,
        style,
        of_style(first, style),
        TARGET_AT,
        NEAREST,
        TARGETS,
        TARGETS_PADDED,
        AUTO,
    )
    if BACKWARD:
        by_log = tl.load(grad_log + row, mask=here, other=0.0)
        by_entropy = tl.load(grad_entropy + row, mask=here, other=0.0)
        into = grad_logits + row[:, None] * WIDTH
        put_slope(into, move_log, move_p, move, by_log, by_entropy, here, MOVES)
        put_slope(into + MOVES, style_log, style_p, style, by_log, by_entropy, here, STYLES)
        put_slope(into + MOVES + STYLES, target_log, target_p, target, by_log, by_entropy, here, TARGETS)
        tl.store(grad_logits + row * WIDTH + WIDTH - 1, tl.zeros([BLOCK], tl.float32), mask=here)
    else:
        joint, spread = log_prob_and_entropy(move_log, move_p, move)
        style_joint, style_spread = log_prob_and_entropy(style_log, style_p, style)
        target_joint, target_spread = log_prob_and_entropy(target_log, target_p, target)
        joint = joint + style_joint + target_joint
        spread = spread + style_spread + target_spread

    goods = choices + HEADS * line + 3
    if WORKS > 0:
        work = tl.load(goods, mask=here, other=0).to(tl.int32)
        goods += 1
        log, p = plain_head(record, row_logits, here, WORK_FROM, WORK_AT, WORKS, WORKS_PADDED)
        if BACKWARD:
            put_slope(into + WORK_FROM, log, p, work, by_log, by_entropy, here, WORKS)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, work)
            joint, spread = joint + its_joint, spread + its_spread
    if TRADES > 0:
        trade = tl.load(goods, mask=here, other=0).to(tl.int32)
        price = tl.load(goods + 1, mask=here, other=0).to(tl.int32)
        goods += 2
        log, p = plain_head(record, row_logits, here, TRADE_FROM, TRADE_AT, TRADES, TRADES_PADDED)
        price_log, price_p = price_head(
            record, row_logits, here, trade, PRICE_FROM, PRICE_AT, TRADES, PRICES, PRICES_PADDED
        )
        if BACKWARD:
            put_slope(into + TRADE_FROM, log, p, trade, by_log, by_entropy, here, TRADES)
            put_slope(into + PRICE_FROM, price_log, price_p, price, by_log, by_entropy, here, PRICES)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, trade)
            price_joint, price_spread = log_prob_and_entropy(price_log, price_p, price)
            joint = joint + its_joint + price_joint
            spread = spread + its_spread + price_spread
    if TOKENS > 0:
        token = tl.load(goods, mask=here, other=0).to(tl.int32)
        log, p = plain_head(record, row_logits, here, TOKEN_FROM, TOKEN_AT, TOKENS, TOKENS_PADDED)
        if BACKWARD:
            put_slope(into + TOKEN_FROM, log, p, token, by_log, by_entropy, here, TOKENS)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, token)
            joint, spread = joint + its_joint, spread + its_spread
    if not BACKWARD:
        tl.store(log_probability + row, joint, mask=here)
        tl.store(entropy + row, spread, mask=here)


class Evaluate(torch.autograd.Function):
    """See ``evaluate``."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, constants: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        logits = logits.contiguous()
        ctx.save_for_backward(records, index, logits, choices)
        ctx.constants = constants
        out = torch.empty(2, *index.shape, device=logits.device)
        programs = triton.cdiv(index.numel(), constants["BLOCK"])
        # Placeholders for the tensors that only the other direction uses.
        launch(
            _evaluate, programs, records, index, logits, choices, out[0], out[1], logits, logits, logits,
            index.numel(), BACKWARD=False, **constants,
        )  # fmt: skip
        return out[0], out[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        records, index, logits, choices = ctx.saved_tensors
        grad = torch.empty_like(logits)
        by_log, by_entropy = (g.contiguous() for g in grads)
        programs = triton.cdiv(index.numel(), ctx.constants["BLOCK"])
        launch(
            _evaluate, programs, records, index, logits, choices, logits, logits, by_log, by_entropy, grad,
            index.numel(), BACKWARD=True, **ctx.constants,
        )  # fmt: skip
        return None, None, grad, None, None


def evaluate(
    records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """(joint log-probability [P, B], entropy [P, B]) of choices; differentiable in the logits.

    Args:
        records: [N, bytes] uint8. index: [P, B] int64: their rows. logits: as for ``choose``.
        choices: [N, heads] int16, by row.
    """
    constants = head_constants(layout, logits.shape[-1], auto)
    out: tuple[Tensor, Tensor] = Evaluate.apply(records, index.contiguous(), logits, choices, constants)
    return out
