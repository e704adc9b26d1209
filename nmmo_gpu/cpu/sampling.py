"""Choosing actions, and judging choices, in one compiled loop each; twin of ``nmmo_gpu.train.sampling``.

For the full game, whose seven heads are a hundred small steps in torch. Both read the masks where they lie,
in the observation records."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import chunks, parallel
from nmmo_gpu.world.layout import STRANGER, STYLES, ObservationLayout
from nmmo_gpu.world.movement import MOVES

STYLE_COUNT = len(STYLES)
PLAIN, STYLE, TARGET, TRADE, PRICE = range(5)
"""Kinds of heads: what a mask is hung on, or hangs on."""
LEAST = 64
"""Agents that are worth a thread."""


class Head(NamedTuple):
    """One head."""

    kind: int
    first: int
    """Its first logit."""
    size: int
    """How many choices it has."""
    mask_at: int
    """Byte of the record at which its mask begins."""


def _heads(layout: ObservationLayout, width: int) -> tuple[Head, ...]:
    """All heads in order; ``width``: logits per agent, the value's included."""
    fields = layout.fields
    more = [name for name in ("work", "trade", "price", "token") if f"{name}_mask" in fields]
    sizes = [fields[f"{name}_mask"].shape[-1] for name in more]
    targets = width - len(MOVES) - STYLE_COUNT - sum(sizes) - 1
    named = {"move": len(MOVES), "style": STYLE_COUNT, "target": targets}
    named |= dict(zip(more, sizes, strict=True))
    kinds = {"style": STYLE, "target": TARGET, "trade": TRADE, "price": PRICE}
    heads, first = [], 0
    for name, size in named.items():
        heads.append(Head(kinds.get(name, PLAIN), first, size, fields[f"{name}_mask"].offset))
        first += size
    return tuple(heads)


@compiled
def _weigh(logits, first, size, free, free_at, weights):
    """Fills a head's part of ``weights`` with probabilities, 0 for what is impossible; returns the logarithm
    of the sum of exponentials. The first choice is always possible."""
    most = logits[first]
    for c in range(1, size):
        if free[free_at + c]:
            most = max(most, logits[first + c])
    total = np.float32(0)
    for c in range(size):
        weight = np.float32(0)
        if c == 0 or free[free_at + c]:
            weight = np.exp(logits[first + c] - most)
        weights[first + c] = weight
        total += weight
    for c in range(size):
        weights[first + c] /= total
    return most + np.log(total)


@compiled
def _strangers(record, kind_at, target_at, nearest, free):
    """The masks under auto-targeting: of the styles, and behind them whether each has somebody to attack."""
    for style in range(STYLE_COUNT):
        free[style] = False
        for k in range(nearest):
            reached = record[target_at + style * (nearest + 1) + 1 + k]
            free[style] |= reached and record[kind_at + k] >= STRANGER
        # Leaving be is always possible, attacking where somebody is.
        free[STYLE_COUNT + 2 * style] = True
        free[STYLE_COUNT + 2 * style + 1] = free[style]


@compiled
def _side(trade, trades):
    """See ``nmmo_gpu.train.policy.side_of``."""
    if trade == trades - 1:
        return 0
    return int(trade > 0) + int(trade > trades // 2 - 1)


@cache
def _loop(heads: tuple[Head, ...], nearest: int, kind_at: int, target_at: int, auto: bool) -> Any:
    """The loop for one layout, ``loop(records, index, logits, uniform, choices, joint, weights, logs,
    entropy, low, high)``.

    With ``uniform`` it samples, into ``choices``; without, it judges these, and notes what the gradient
    needs: probabilities, and each head's logarithm and entropy."""
    count = len(heads)
    kind, first, size, mask_at = (np.array(column, np.int64) for column in zip(*heads, strict=True))
    trades = max([head.size for head in heads if head.kind == TRADE], default=0)

    @compiled
    def loop(records, index, logits, uniform, choices, joint, weights, logs, entropy, low, high):
        sampling = len(uniform) > 0
        scratch = np.empty(logits.shape[1], np.float32)
        seen = np.empty(3 * STYLE_COUNT, np.bool_)
        for i in range(low, high):
            record, told = records[index[i]], logits[i]
            chance = scratch if sampling else weights[i]
            if auto:
                _strangers(record, kind_at, target_at, nearest, seen)
            style = side = 0
            sure = np.float32(0)
            for h in range(count):
                start, many, at = first[h], size[h], mask_at[h]
                if kind[h] == PRICE:
                    at += side * many
                if auto and kind[h] == STYLE:
                    log = _weigh(told, start, many, seen, 0, chance)
                elif auto and kind[h] == TARGET:
                    log = _weigh(told, start, many, seen, STYLE_COUNT + 2 * style, chance)
                elif kind[h] == TARGET:
                    log = _weigh(told, start, many, record, at + style * many, chance)
                else:
                    log = _weigh(told, start, many, record, at, chance)
                if sampling:
                    choice = 0
                    reached = np.float32(0)
                    for c in range(many):
                        if chance[start + c] > 0:
                            # Rounding can leave the sum below the draw: then it is the last possible one.
                            choice = c
                            reached += chance[start + c]
                            if reached > uniform[h, i]:
                                break
                    choices[i, h] = choice
                else:
                    choice = choices[i, h]
                    spread = np.float32(0)
                    for c in range(many):
                        if chance[start + c] > 0:
                            spread -= chance[start + c] * (told[start + c] - log)
                    logs[i, h], entropy[i, h] = log, spread
                sure += told[start + choice] - log
                if kind[h] == STYLE:
                    style = choice
                elif kind[h] == TRADE:
                    side = _side(choice, trades)
            joint[i] = sure

    return loop


@cache
def _slopes(heads: tuple[Head, ...]) -> Any:
    """The loop that fills the gradient in the logits."""
    count = len(heads)
    first, size = (np.array([head[place] for head in heads], np.int64) for place in (1, 2))

    @compiled
    def loop(logits, choices, weights, logs, entropy, by_log, by_entropy, grad, low, high):
        for i in range(low, high):
            for h in range(count):
                for c in range(first[h], first[h] + size[h]):
                    chance = weights[i, c]
                    slope = np.float32(0)
                    if chance > 0:
                        log = logits[i, c] - logs[i, h]
                        slope = -by_log[i] * chance - by_entropy[i] * chance * (log + entropy[i, h])
                    grad[i, c] = slope
                grad[i, first[h] + choices[i, h]] += by_log[i]
            grad[i, grad.shape[1] - 1] = 0

    return loop


def _made(layout: ObservationLayout, width: int, auto: bool) -> tuple[tuple[Head, ...], Callable[..., None]]:
    heads = _heads(layout, width)
    fields = layout.fields
    places = fields["entity_kind"].shape[0], fields["entity_kind"].offset, fields["target_mask"].offset
    return heads, _loop(heads, *places, auto)


NOTHING = np.empty((0, 0), np.float32)


def sample(
    records: Tensor, index: Tensor, logits: Tensor, uniform: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """See ``nmmo_gpu.train.sampling.sample``.

    Args:
        records: [rows, bytes] uint8. index: [P, B] int64: their rows.
        logits: [P, B, width] float32: moves, styles, targets, then works, trades, prices and words where the
            layout has masks for them, value; not masked.
        auto: the target head says whether to attack the nearest stranger or NPC in reach.
    """
    width, count = logits.shape[-1], index.numel()
    heads, loop = _made(layout, width, auto)
    choices = torch.empty(*index.shape, len(heads), dtype=torch.int64)
    joint = torch.empty(index.shape)
    given = logits.detach().contiguous().view(count, width).numpy()
    fixed = (
        records.numpy(), index.reshape(-1).numpy(), given, uniform.reshape(len(heads), count).numpy(),
        choices.view(count, -1).numpy(), joint.view(-1).numpy(), NOTHING, NOTHING, NOTHING,
    )  # fmt: skip
    parallel(loop, [(*fixed, *piece) for piece in chunks(count, LEAST)])
    return choices, joint


class Evaluate(torch.autograd.Function):
    """See ``evaluate``."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, logits: Tensor, choices: Tensor,
        layout: ObservationLayout, auto: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        width, count = logits.shape[-1], index.numel()
        heads, loop = _made(layout, width, auto)
        given = logits.detach().contiguous().view(count, width).numpy()
        rows = index.reshape(-1)
        made = choices[rows].numpy()
        joint = torch.empty(index.shape)
        weights = np.empty((count, width), np.float32)
        logs, entropy = np.empty((2, count, len(heads)), np.float32)
        fixed = (
            records.numpy(), rows.numpy(), given, NOTHING, made, joint.view(-1).numpy(),
            weights, logs, entropy,
        )  # fmt: skip
        parallel(loop, [(*fixed, *piece) for piece in chunks(count, LEAST)])
        ctx.known = heads, given, made, weights, logs, entropy
        return joint, torch.from_numpy(entropy.sum(1)).view(index.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        heads, *known = ctx.known
        by_log, by_entropy = (grad.reshape(-1).contiguous().numpy() for grad in grads)
        slopes = torch.empty(*grads[0].shape, known[0].shape[1])
        into = slopes.view(by_log.shape[0], -1).numpy()
        fixed = (*known, by_log, by_entropy, into)
        parallel(_slopes(heads), [(*fixed, *piece) for piece in chunks(len(into), LEAST)])
        return None, None, slopes, None, None, None


def evaluate(
    records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """(joint log-probability [P, B], entropy [P, B]) of choices; differentiable in the logits.

    Args:
        records, index, logits, auto: as for ``sample``. choices: [rows, heads] int16, by row.
    """
    out: tuple[Tensor, Tensor] = Evaluate.apply(records, index, logits, choices, layout, auto)
    return out
