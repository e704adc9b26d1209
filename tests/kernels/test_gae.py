"""Generalized advantage estimation by the kernel, compared with torch bit by bit."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.train import gae
from nmmo_gpu.train.gae import advantages

DISCOUNTS = [(0.99, 0.95), (0.997, 0.9), (0.5, 1.0), (0.9, 0.0), (0.0, 0.95), (1 / 3, 0.7)]
"""Includes (0.997, 0.9), whose product in 32 bits differs from the rounded product in 64 bits."""


@pytest.fixture(autouse=True)
def rounded(monkeypatch):
    """Passes floats to kernels in 32 bits, as a GPU receives them. The interpreter would use 64 bits."""

    def launch(kernel, programs, *arguments, **constants):
        numbers = [torch.tensor(a).item() if isinstance(a, float) else a for a in arguments]
        launching.launch(kernel, programs, *numbers, **constants)

    monkeypatch.setattr(gae, "launch", launch)


def rollout(ticks, agents, share, seed):
    """Returns reward, value, died and last value; ``share`` is the probability of a death."""
    random = torch.Generator().manual_seed(seed)
    # A part of a longer tensor of values, as in a rollout.
    value = torch.randn(ticks + 1, agents, generator=random) * 3
    reward = torch.randn(ticks, agents, generator=random)
    died = torch.rand(ticks, agents, generator=random) < share
    return [tensor.to(KERNEL_DEVICE) for tensor in (reward, value[:ticks], died, value[ticks])]


@pytest.mark.parametrize(("gamma", "lam"), DISCOUNTS)
@pytest.mark.parametrize(
    ("ticks", "agents", "block"), [(1, 1, 32), (7, 33, 32), (19, 101, 64), (32, 257, None)]
)
def test_the_bits_of_torch(monkeypatch, gamma, lam, ticks, agents, block):
    """Odd sizes in several blocks, with no deaths, some deaths, and every agent dying at every tick."""
    if block is not None:
        monkeypatch.setattr(launching, "BLOCK", block)
    for seed, share in enumerate((0.0, 0.2, 1.0)):
        given = rollout(ticks, agents, share, seed)
        expected, found = advantages(*given, gamma, lam), gae.advantages(*given, gamma, lam)
        assert found.dtype == torch.float32 and found.shape == (ticks, agents)
        assert torch.equal(found, expected), (found - expected).abs().max()


def test_a_hand_computed_example():
    """gamma 1/2, lambda 1/2: deltas 1/2, 3/2, 5/2, 4, each plus a quarter of the next advantage. In the other
    slot, a death at the second tick cuts the sum, so that later values do not count, however large."""
    reward = torch.tensor([[1, 1], [2, 0], [3, 1e9], [4, 1]])
    value = torch.tensor([[1, 2], [1, 1], [1, -1e9], [1, 2]])
    died = torch.tensor([[0, 0], [0, 1], [0, 0], [0, 0]]).bool()
    given = [tensor.to(KERNEL_DEVICE) for tensor in (reward, value, died, torch.tensor([2.0, 4.0]))]
    found = gae.advantages(*given, 0.5, 0.5).cpu()
    assert found[:, 0].tolist() == [1.09375, 2.375, 3.5, 4.0]
    assert found[[0, 1, 3], 1].tolist() == [-0.75, -1.0, 1.0]


def test_arguments_are_unchanged():
    """The kernel writes only the result."""
    given = rollout(9, 40, 0.3, 5)
    copies = [tensor.clone() for tensor in given]
    gae.advantages(*given, 0.99, 0.95)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given, copies, strict=True))
