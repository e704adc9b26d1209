"""Selecting the row of a mask that other heads' choices determine."""

from __future__ import annotations

import torch

from nmmo_gpu.world.actions import row_of, side_of


def test_row_of_selects_the_chosen_row():
    """[..., rows, n] and [...] give [..., n] for any leading shape."""
    random = torch.Generator().manual_seed(1)
    mask = torch.rand(2, 5, 3, 4, generator=random) < 0.5
    style = torch.randint(3, (2, 5), generator=random)
    expected = [[mask[i, j, style[i, j]].tolist() for j in range(5)] for i in range(2)]
    assert row_of(mask, style).tolist() == expected


def test_side_of_a_trade():
    """By hand for three items: nothing, three sales, three buys, withdraw."""
    assert side_of(torch.arange(8), 8).tolist() == [0, 1, 1, 1, 2, 2, 2, 0]
    assert side_of(torch.tensor([[0], [7]], dtype=torch.int16), 8).tolist() == [[0], [0]]
