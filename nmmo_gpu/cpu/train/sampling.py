"""Sampling and evaluation of actions, in one compiled loop each; twin of ``nmmo_gpu.train.sampling``.

For the full game, whose seven heads are a hundred small steps in torch. Both loops read the masks in place,
in the observation records."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import chunks, parallel
from nmmo_gpu.world.actions import MORE_HEADS
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STRANGER, STYLES, ObservationLayout

STYLE_COUNT = len(STYLES)
PLAIN, STYLE, TARGET, TRADE, PRICE = range(5)
"""Kinds of heads, by the dependencies of their masks."""
MIN_PER_THREAD = 64
"""Minimum number of agents per thread."""
DOUBLINGS, MIN_POWER = np.float32(1 / math.log(2)), np.float32(-126)
E = tuple(np.float32(math.log(2) ** k / math.factorial(k)) for k in range(8))
"""Taylor coefficients of 2 to the x."""


class Head(NamedTuple):
    """One head."""

    kind: int
    first: int
    """Index of its first logit."""
    size: int
    """Number of choices."""
    mask_at: int
    """Byte of the record at which its mask begins."""


def _heads(layout: ObservationLayout, width: int) -> tuple[Head, ...]:
    """All heads in order; ``width``: logits per agent, including the value."""
    fields = layout.fields
    more = [name for name in MORE_HEADS if f"{name}_mask" in fields]
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


@compiled(inline="always")
def _exp(x):
    """e to the x for x of at most 0, to about 1e-6 relative; unlike libm's, it is vectorized."""
    power = max(x * DOUBLINGS, MIN_POWER)
    whole = np.floor(power)
    rest = power - whole
    part = E[4] + rest * (E[5] + rest * (E[6] + rest * E[7]))
    part = E[0] + rest * (E[1] + rest * (E[2] + rest * (E[3] + rest * part)))
    return part * np.int32((np.int32(whole) + 127) << 23).view(np.float32)


@compiled
def _weigh(logits, free, weights):
    """Fills ``weights`` with probabilities, 0 for impossible choices; returns the logarithm of the sum of
    exponentials. The first choice is always possible. The loops have no branches."""
    size = len(logits)
    largest = logits[0]
    for c in range(1, size):
        largest = max(largest, logits[c] if free[c] else largest)
    for c in range(size):
        weights[c] = _exp(min(logits[c] - largest, np.float32(0))) if free[c] else np.float32(0)
    weights[0] = _exp(logits[0] - largest)
    total = np.float32(0)
    for c in range(size):
        total += weights[c]
    for c in range(size):
        weights[c] /= total
    return largest + np.log(total)


@compiled
def _strangers(record, kind_at, target_at, nearest, free):
    """The masks under auto-targeting: those of the styles, followed for each by whether it has a target."""
    for style in range(STYLE_COUNT):
        free[style] = 0
        for k in range(nearest):
            reached = record[target_at + style * (nearest + 1) + 1 + k]
            free[style] |= np.uint8(reached != 0 and record[kind_at + k] >= STRANGER)
        # No attack is always possible; an attack is possible if there is a target.
        free[STYLE_COUNT + 2 * style] = 1
        free[STYLE_COUNT + 2 * style + 1] = free[style]


@compiled
def _side(trade, trades):
    """See ``nmmo_gpu.world.actions.side_of``."""
    if trade == trades - 1:
        return 0
    return int(trade > 0) + int(trade > trades // 2 - 1)


@compiled(inline="always")
def _draw(shares, uniform):
    """Returns the choice that a number in [0, 1) picks from probabilities."""
    choice = 0
    reached = np.float32(0)
    for c in range(len(shares)):
        if shares[c] > 0:
            # Rounding can leave the sum below the draw: then it is the last possible choice.
            choice = c
            reached += shares[c]
            if reached > uniform:
                break
    return choice


@compiled(inline="always")
def _entropy(shares, logits, log):
    """Returns the entropy of probabilities; ``log``: of the sum of exponentials."""
    entropy = np.float32(0)
    for c in range(len(shares)):
        entropy -= shares[c] * (logits[c] - log)
    return entropy


@compiled
def _choose(records, index, logits, uniform, layout, choices, joint, trace, low, high):
    """Samples or evaluates the choices of agents ``low`` to ``high``.

    With ``uniform`` it samples into ``choices``. Without, it evaluates these, and stores what the gradient
    needs (``trace``): probabilities, and each head's logarithm and entropy.

    Args:
        layout: see ``_loop_layout``.
    """
    heads, nearest, kind_at, target_at, auto = layout
    weights, logs, entropy = trace
    sampling = len(uniform) > 0
    scratch = np.empty(logits.shape[1], np.float32)
    seen = np.empty(3 * STYLE_COUNT, np.uint8)
    for i in range(low, high):
        record, row_logits = records[index[i]], logits[i]
        chance = scratch if sampling else weights[i]
        if auto:
            _strangers(record, kind_at, target_at, nearest, seen)
        style = side = 0
        sure = np.float32(0)
        for h in range(len(heads)):
            kind, first, size, at = heads[h, 0], heads[h, 1], heads[h, 2], heads[h, 3]
            free = record
            if auto and kind == STYLE:
                at, free = 0, seen
            elif kind == TARGET:
                at += style * size
                if auto:
                    at, free = STYLE_COUNT + 2 * style, seen
            elif kind == PRICE:
                at += side * size
            logit, share = row_logits[first : first + size], chance[first : first + size]
            log = _weigh(logit, free[at : at + size], share)
            if sampling:
                choice = _draw(share, uniform[h, i])
                choices[i, h] = choice
            else:
                choice = choices[i, h]
                logs[i, h], entropy[i, h] = log, _entropy(share, logit, log)
            sure += logit[choice] - log
            if kind == STYLE:
                style = choice
            elif kind == TRADE:
                side = _side(choice, size)
        joint[i] = sure


@compiled(allocates=False)
def _slopes(heads, logits, choices, trace, by_log, by_entropy, grad, low, high):
    """Fills the gradient with respect to the logits; ``trace`` as for ``_choose``."""
    weights, logs, entropy = trace
    for i in range(low, high):
        for h in range(len(heads)):
            start, end = heads[h, 1], heads[h, 1] + heads[h, 2]
            slope, share, logit = grad[i, start:end], weights[i, start:end], logits[i, start:end]
            log, spread, up, around = logs[i, h], entropy[i, h], by_log[i], by_entropy[i]
            for c in range(end - start):
                slope[c] = -share[c] * (up + around * (logit[c] - log + spread))
            slope[choices[i, h]] += up
        grad[i, grad.shape[1] - 1] = 0


def _loop_layout(layout: ObservationLayout, width: int, auto: bool) -> tuple[Any, int, int, int, bool]:
    """Returns the heads ([heads, 4] int64, columns as in ``Head``), the number of rows of the entity table,
    the bytes at which its kinds and the mask of targets begin, and ``auto``."""
    fields = layout.fields
    kinds, targets = fields["entity_kind"], fields["target_mask"]
    heads = np.array(_heads(layout, width), np.int64)
    return heads, kinds.shape[0], kinds.offset, targets.offset, auto


NOTHING = np.empty((0, 0), np.float32)
NO_TRACE = NOTHING, NOTHING, NOTHING


def sample(
    records: Tensor, index: Tensor, logits: Tensor, uniform: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """See ``nmmo_gpu.train.sampling.sample``.

    Args:
        records: [rows, bytes] uint8. index: [P, B] int64: their rows.
        logits: [P, B, width] float32: moves, styles, targets, then works, trades, prices and tokens if the
            layout has masks for them, value; not masked.
        auto: the target head chooses whether to attack the nearest stranger or NPC in reach.
    """
    width, count = logits.shape[-1], index.numel()
    loop_layout = _loop_layout(layout, width, auto)
    heads = len(loop_layout[0])
    choices = torch.empty(*index.shape, heads, dtype=torch.int64, device="cpu")
    joint = torch.empty(index.shape, dtype=torch.float32, device="cpu")
    given = logits.detach().contiguous().view(count, width).numpy()
    fixed = (
        records.numpy(), index.contiguous().view(-1).numpy(), given,
        uniform.reshape(heads, count).numpy(), loop_layout, choices.view(count, -1).numpy(),
        joint.view(-1).numpy(), NO_TRACE,
    )  # fmt: skip
    parallel(_choose, [(*fixed, *piece) for piece in chunks(count, MIN_PER_THREAD)])
    return choices, joint


class Evaluate(torch.autograd.Function):
    """See ``evaluate``."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, logits: Tensor, choices: Tensor,
        layout: ObservationLayout, auto: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        width, count = logits.shape[-1], index.numel()
        loop_layout = _loop_layout(layout, width, auto)
        given = logits.detach().contiguous().view(count, width).numpy()
        rows = index.contiguous().view(-1)
        # As wide as for sampling, so that the loop is compiled once for both.
        made = choices[rows].long().numpy()
        joint = torch.empty(index.shape, dtype=torch.float32, device="cpu")
        weights = np.empty((count, width), np.float32)
        logs, entropy = np.empty((2, count, len(loop_layout[0])), np.float32)
        trace = weights, logs, entropy
        fixed = (
            records.numpy(), rows.numpy(), given, NOTHING, loop_layout, made, joint.view(-1).numpy(),
            trace,
        )  # fmt: skip
        parallel(_choose, [(*fixed, *piece) for piece in chunks(count, MIN_PER_THREAD)])
        ctx.known = loop_layout[0], given, made, trace
        return joint, torch.from_numpy(entropy.sum(1)).view(index.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        known = ctx.known
        by_log, by_entropy = (grad.reshape(-1).contiguous().numpy() for grad in grads)
        slopes = torch.empty(*grads[0].shape, known[1].shape[1], dtype=torch.float32, device="cpu")
        into = slopes.view(by_log.shape[0], -1).numpy()
        fixed = (*known, by_log, by_entropy, into)
        parallel(_slopes, [(*fixed, *piece) for piece in chunks(len(into), MIN_PER_THREAD)])
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
