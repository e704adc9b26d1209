"""Tables of which parameter each entry of a matrix is."""

from __future__ import annotations

import pytest
import torch
from train.small import small

from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.weight_table import WeightTable, gather_sum

SHAPES = {"a": torch.Size([2, 3]), "b": torch.Size([4])}


def test_terms_and_uses():
    """The numbers of parameters in the matrices, and the entries that each parameter is; one is unused, one
    occurs twice and once negative."""

    def make(free):
        first = free["a"][:, :1]
        return free["a"].mT, torch.cat((-first, first * 0), 2), free["b"][:, 1:]

    table = WeightTable.of(make, SHAPES)
    assert table.matrices.terms.tolist() == [[1, 4, 2, 5, 3, 6, -1, -2, -3, 0, 0, 0, 8, 9, 10]]
    assert table.matrices.shapes == ((3, 2), (1, 6), (3,)) and table.gradients.shapes == ((2, 3), (4,))
    first, second = table.gradients.terms.tolist()
    assert first == [1, 3, 5, 2, 4, 6, 0, 13, 14, 15] and second == [-7, -8, -9, *[0] * 7]


@pytest.mark.parametrize(
    "make",
    [
        lambda free: (free["a"], free["b"][:, :3] + free["b"][:, 1:]),
        lambda free: (free["a"] * 0.5,),
        lambda free: (free["a"] + 1,),
        lambda free: (free["a"] * free["a"],),
    ],
    ids=["sum", "scaled", "shifted", "squared"],
)
def test_other_matrices_are_refused(make):
    with pytest.raises(ValueError, match="neither a parameter nor"):
        WeightTable.of(make, SHAPES)


def test_weights_follow_the_parameters():
    """Parameters that change or are frozen, on the CPU and with ``gather_sum`` of torch."""
    config = small()
    policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(0), gather_sum=gather_sum)
    plain = Policy(config.env.world, config.policy, torch.Generator().manual_seed(0))
    policy.trunk.requires_grad_(False)
    for change in (0.0, 1.0):
        with torch.no_grad():
            for one in (policy, plain):
                one.value_bias.add_(change)
        assert torch.equal(policy.weights().action_heads_bias, plain.weights().action_heads_bias)
    policy.weights().trunk[0].sum().backward()
    assert policy.trunk.grad is None and policy.window.grad is not None
