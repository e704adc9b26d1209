"""The loss of PPO as a kernel, compared with the loss in torch."""

from __future__ import annotations

import importlib

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

from nmmo_gpu.train import ppo
from nmmo_gpu.train.config import PPOConfig

# The package has a function of the same name.
kernels = importlib.import_module("nmmo_gpu.kernels.train.loss")
CONFIG = PPOConfig(clip=0.15, value_weight=3.0, entropy_weight=0.2)


def drawn(populations, rows, device):
    """Returns (evaluation, old log-probabilities, advantages, returns, which are real), with ratios on both
    sides of the clipping range and exactly 1, and some advantages of zero."""
    random = torch.Generator().manual_seed(populations * rows)
    log, entropy, value, old, advantage, returns = torch.randn(6, populations, rows, generator=random)
    old = log + 0.3 * old.round(decimals=1)
    advantage = advantage.where(torch.rand(populations, rows, generator=random) < 0.8, 0.0)
    real = torch.rand(populations, rows, generator=random) < 0.7
    real[-1] = False
    parts = [part.to(device, copy=True) for part in (log, entropy, value)]
    evaluation = ppo.ActionEvaluation(*(part.requires_grad_() for part in parts))
    return evaluation, *(part.to(device) for part in (old, advantage, returns, real))


@pytest.mark.parametrize("block", [None, 16])
@pytest.mark.parametrize("whole", [False, True], ids=["by itself", "a part of a batch"])
@pytest.mark.parametrize("size", [(2, 1), (3, 77), (1, 48)])
def test_the_loss(size, whole, block, monkeypatch):
    """Loss, statistics and gradients, the latter scaled by the loss's own gradient. A population without
    samples has a gradient of zero."""
    if block is not None:
        monkeypatch.setattr(kernels, "BLOCK", block)
    results = []
    for loss in (kernels.loss, ppo.loss):
        evaluation, *batch = drawn(*size, KERNEL_DEVICE)
        count = torch.full((size[0],), 100, device=KERNEL_DEVICE) if whole else None
        total, statistics = loss(evaluation, *batch, CONFIG, count)
        assert total.shape == () and not statistics.requires_grad
        (total / 2).backward()
        results.append([total.detach(), statistics, *(part.grad for part in evaluation)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert size[0] == 1 or results[0][1][0].all()
    assert not any(grad[-1].any() for grad in results[0][2:])


def test_padding_may_be_anything():
    """Log-probabilities that belong to no sample may overflow without effect."""
    evaluation, old, *batch = drawn(2, 9, KERNEL_DEVICE)
    with torch.no_grad():
        evaluation.log_probability[~batch[-1]] = 1e9
    total, statistics = kernels.loss(evaluation, old, *batch, CONFIG)
    total.backward()
    assert statistics.isfinite().all() and total.isfinite()
    assert all(part.grad.isfinite().all() for part in evaluation)
