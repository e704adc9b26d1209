"""Generalized advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    reward: Tensor, value: Tensor, died: Tensor, last_value: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Computes the advantages of a rollout; nothing propagates from one agent of a slot to the next.

    Schulman et al. 2016, arXiv 1506.02438, equation 16. Lives are never truncated, so only deaths cut the
    sums. Values at the ticks of empty slots are meaningless.

    Args:
        reward: [T, N] float32.
        value: [T, N] float32, value of the observation before each step.
        died: [T, N] bool, whether the agent died in the step.
        last_value: [N] float32, value of the observation after the last step.
        gamma: discount per tick.
        gae_lambda: lambda of the estimator.

    Returns:
        [T, N] float32; ``value`` plus the advantages are the returns.
    """
    out = torch.empty_like(value)
    running = torch.zeros_like(last_value)
    following = last_value
    for t in range(reward.shape[0] - 1, -1, -1):
        lives = (~died[t]).float()
        delta = reward[t] + gamma * lives * following - value[t]
        running = delta + gamma * gae_lambda * lives * running
        out[t] = running
        following = value[t]
    return out
