"""The loss of PPO and its gradient in one kernel; twin of ``nmmo_gpu.train.ppo.loss``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch

_Samples = namedtuple("_Samples", "log_probability entropy value old_log advantage returns real")
"""[P, B] each, of which ``real`` is bool and the others are float32."""
_Settings = namedtuple("_Settings", "clip value_weight entropy_weight")

SHARES = tl.constexpr(8)
"""Sums per block: the statistics in the order of ``nmmo_gpu.train.ppo.STATISTICS``, the loss, and zeros."""
STATISTICS = 5
BLOCK = 1 << 14 if INTERPRETED else 1024
"""Samples per program."""


@triton.jit
def _loss(samples, count, slopes, shares, rows, settings: tl.constexpr, BLOCK: tl.constexpr):
    """The gradient of each sample, and sums over a block of samples of a population.

    Order-free: each number is written by one program; the sums are added afterwards."""
    blocks = tl.cdiv(rows, BLOCK)
    population = tl.program_id(0) // blocks
    within = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    here = within < rows
    place = population.to(tl.int64) * rows + within
    real = tl.load(samples.real + place, mask=here, other=0) != 0
    number = tl.maximum(tl.load(count + population), 1).to(tl.float32)
    weight = tl.where(real, 1.0, 0.0) / number
    advantage = tl.load(samples.advantage + place, mask=here, other=0.0)
    change = tl.load(samples.log_probability + place, mask=here, other=0.0)
    change -= tl.load(samples.old_log + place, mask=here, other=0.0)
    change = tl.where(real, change, 0.0)
    ratio = tl.exp(change)
    LOW: tl.constexpr = 1 - settings.clip
    HIGH: tl.constexpr = 1 + settings.clip
    nearby = tl.minimum(tl.maximum(ratio, LOW, tl.PropagateNan.ALL), HIGH, tl.PropagateNan.ALL)
    free, bounded = ratio * advantage, nearby * advantage
    surrogate = tl.minimum(free, bounded, tl.PropagateNan.ALL)
    error = tl.load(samples.value + place, mask=here, other=0.0)
    error -= tl.load(samples.returns + place, mask=here, other=0.0)
    entropy = tl.load(samples.entropy + place, mask=here, other=0.0)

    # Where both terms are equal, the ratio is in range, or the advantage is zero.
    slope = tl.where(real & (bounded >= free), -advantage * ratio * weight, 0.0)
    tl.store(slopes + place, slope, mask=here)
    size = tl.num_programs(0).to(tl.int64) // blocks * rows
    tl.store(slopes + size + place, -settings.entropy_weight * weight, mask=here)
    tl.store(slopes + 2 * size + place, 2 * settings.value_weight * error * weight, mask=here)

    policy_loss = -tl.sum(surrogate * weight, 0)
    value_loss = tl.sum(error * error * weight, 0)
    bonus = tl.sum(entropy * weight, 0)
    kl = tl.sum((ratio - 1.0 - change) * weight, 0)
    clipped = tl.sum(tl.where(tl.abs(ratio - 1.0) > settings.clip, weight, 0.0), 0)
    total = policy_loss + settings.value_weight * value_loss - settings.entropy_weight * bonus
    which = tl.arange(0, SHARES)
    share = tl.where(which == 0, policy_loss, tl.where(which == 1, value_loss, 0.0))
    share = tl.where(which == 2, bonus, tl.where(which == 3, kl, share))
    share = tl.where(which == 4, clipped, tl.where(which == 5, total, share))
    tl.store(shares + tl.program_id(0).to(tl.int64) * SHARES + which, share)


class Loss(torch.autograd.Function):
    """See ``loss``; returns the sums over samples, [P, 8]."""

    @staticmethod
    def forward(
        ctx: Any, log_probability: Tensor, entropy: Tensor, value: Tensor, old_log: Tensor,
        advantage: Tensor, returns: Tensor, real: Tensor, count: Tensor, config: Any,
    ) -> Tensor:  # fmt: skip
        samples = _Samples(log_probability, entropy, value, old_log, advantage, returns, real)
        samples = _Samples(*(part.contiguous() for part in samples))
        populations, rows = real.shape
        blocks = triton.cdiv(rows, BLOCK)
        slopes = torch.empty(3, populations, rows, dtype=torch.float32, device=real.device)
        shares = torch.empty(populations, blocks, SHARES.value, dtype=torch.float32, device=real.device)
        settings = _Settings(config.clip, config.value_weight, config.entropy_weight)
        launch(
            _loss, populations * blocks, samples, count.contiguous(), slopes, shares, rows,
            settings=settings, BLOCK=BLOCK,
        )  # fmt: skip
        ctx.save_for_backward(slopes)
        return shares.sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        # The gradients of the statistics are not used: only those of the loss count.
        by_log, by_entropy, by_value = (slopes * grads[0][:, STATISTICS, None]).unbind(0)
        return by_log, by_entropy, by_value, *[None] * 6


def loss(
    evaluation: Any, old_log: Tensor, advantage: Tensor, returns: Tensor, real: Tensor, config: Any,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See ``nmmo_gpu.train.ppo.loss``."""
    count = real.sum(1) if count is None else count
    sums = Loss.apply(*evaluation, old_log, advantage, returns, real, count, config)
    return sums[:, STATISTICS].sum(), sums[:, :STATISTICS].detach()
