"""Generalized advantage estimation as one kernel; twin of ``nmmo_gpu.train.gae``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch, over_elements


@triton.jit
def _gae(reward, value, died, last_value, out, slots, gamma, trace, TICKS: tl.constexpr, BLOCK: tl.constexpr):
    """Iterates backwards through the rollout, with one lane per slot, so that each number is read once.

    Order-free: every slot's column belongs to one program."""
    slot = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = slot < slots
    following = tl.load(last_value + slot, mask=here, other=0.0)
    running = tl.zeros([BLOCK], tl.float32)
    tick = tl.zeros([BLOCK], tl.int64) + slots  # offset from one tick to the next
    place = slot + tick * (TICKS - 1)
    for _ in range(TICKS):
        lives = tl.load(died + place, mask=here, other=1) == 0
        now = tl.load(value + place, mask=here, other=0.0)
        earned = tl.load(reward + place, mask=here, other=0.0)
        delta = earned + gamma * tl.where(lives, following, 0.0) - now
        running = delta + trace * tl.where(lives, running, 0.0)
        tl.store(out + place, running, mask=here)
        following = now
        place -= tick


def advantages(
    reward: Tensor, value: Tensor, died: Tensor, last_value: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """See ``nmmo_gpu.train.gae.advantages``; the result is bitwise equal."""
    out = torch.empty_like(value)
    ticks, slots = value.shape
    programs, block = over_elements(slots)
    trace = gamma * gae_lambda  # computed on the host in 64 bits, because kernels compute in 32 bits
    launch(
        _gae, programs, reward, value, died, last_value, out, slots, gamma, trace, TICKS=ticks, BLOCK=block
    )
    return out
