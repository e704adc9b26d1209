"""Operations and bytes of a training iteration on a GPU, counted without one, and the goals for them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

pytest.importorskip("triton")

from nmmo_gpu.train.operation_count import OperationCount, count_iteration
from nmmo_gpu.train.presets import train_preset


def test_the_learner_keeps_its_goals():
    """``chaos --scale gpu``: at most 3,000 operations that launch work per update; and at most 35 kB per
    sample besides operands and results of matrix products, in rollout and update without the kernels of the
    environment. A quarter of the ticks in a quarter of the minibatches is enough to count."""
    config = train_preset("chaos", "gpu")
    horizon, minibatches = config.ppo.horizon // 4, config.ppo.minibatches // 4
    ppo = dataclasses.replace(config.ppo, horizon=horizon, minibatches=minibatches)
    counts = count_iteration(dataclasses.replace(config, ppo=ppo))
    update = counts["update"].rows()
    assert {"_layer", "_layer_backward", "_gather_sum", "_loss", "_fused_adam_", "bmm"} <= update.keys()
    assert 1000 < 4 * sum(row.operations for row in update.values()) <= 3000
    samples = horizon * config.env.realms * config.env.world.slots
    outside = sum(count.learner_bytes() for count in counts.values()) / samples
    assert 20e3 < outside <= 35e3
    assert {"_windows", "_settle"} <= counts["rollout"].environment


def test_bytes():
    """Each tensor counts once, expanded dimensions once, and views nothing."""
    a, b = torch.zeros(3, 4), torch.zeros(4, 1)
    with OperationCount() as count:
        c = a @ b
        a.view(12)[3:].add_(1.0)
        c + torch.ones(()).expand(3, 1)
        a.index_select(0, torch.tensor([2, 2]))
        torch.baddbmm(torch.ones(1, 1, 1), a[None], b[None])
    rows = count.rows()
    assert rows["mm"] == (1, 4 * (12 + 4 + 3), 4 * (12 + 4 + 3))
    # The operand that is added is copied to the result, which the product reads.
    assert rows["baddbmm"] == (1, 4 * (1 + 12 + 4 + 3 * 3), 4 * (12 + 4 + 3))
    assert rows["add_"].bytes == 4 * (9 + 9) and rows["add"].bytes == 4 * (3 + 1 + 3)
    assert rows["index_select"].bytes == 4 * (8 + 8) + 8 * 2
    assert not {"view", "slice", "expand", "t"} & rows.keys()
