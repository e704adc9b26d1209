"""All matrices of a network by one gather, compared with those that operations of torch make, and the
gradients of its parameters."""

from __future__ import annotations

import pytest
import torch
from support.example_systems import Flag
from support.helpers import KERNEL_DEVICE
from torch.utils._pytree import tree_leaves
from train.small import FULL, small, whole_numbers

pytest.importorskip("triton")

from nmmo_gpu.kernels.train import weights as kernels
from nmmo_gpu.train.inputs import encode_inputs
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.weight_table import BLOCK, Gather, gather_sum

SETTINGS = {
    "chaos": {"layers": 3},
    "recurrent, learned targets": {"recurrent": True, "targeting": "learned", "populations": 3, "slots": 12},
    "full, recurrent, bf16": {**FULL, "recurrent": True, "targeting": "learned", "precision": "bf16"},
    "a system": {"systems": (Flag(),), "populations": 1},
}


def policy_of(config, gather):
    """Returns a policy on the device of kernels; its parameters are random whole numbers, which bfloat16
    represents."""
    policy = Policy(
        config.env.world, config.policy, torch.Generator().manual_seed(1), encode_inputs, gather_sum=gather
    )
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(whole_numbers(*parameter.shape, random=random))
    return policy.to(KERNEL_DEVICE)


def matrices_and_gradients(policy):
    """Returns the matrices, and the gradients by name for upstream gradients of whole numbers."""
    random = torch.Generator().manual_seed(3)
    matrices = [leaf for leaf in tree_leaves(policy.weights()) if leaf is not None]
    upstream = [whole_numbers(*m.shape, random=random).to(m.device, m.dtype) for m in matrices]
    torch.autograd.backward(matrices, upstream)
    return matrices, {name: p.grad for name, p in policy.named_parameters()}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_network(settings):
    """Matrices and gradients are equal to the last bit: the gradients are sums of at most four whole
    numbers."""
    config = small(**settings)
    found, gradients = matrices_and_gradients(policy_of(config, kernels.gather_sum))
    expected, wanted = matrices_and_gradients(policy_of(config, None))
    assert len(found) == len(expected) >= 5
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.is_contiguous() and torch.equal(one, other)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert gradients[name].dtype == torch.float32 and torch.equal(gradients[name], gradient), name
        assert gradient.any(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gathers(dtype):
    """Results of several blocks, of one entry, and of none; with signs, repeated and missing terms."""
    random = torch.Generator().manual_seed(4)
    sources = [
        whole_numbers(3, *shape, random=random).to(KERNEL_DEVICE) for shape in ((5, 7), (1,), (2, 3, 4))
    ]
    shapes = [(BLOCK + 1,), (1, 1), (0, 3), (2, BLOCK // 2)]
    count = 2 * BLOCK + 2
    terms = torch.randint(-60, 61, (3, count), generator=random, dtype=torch.int32)
    gather = Gather.of(terms, shapes).to(KERNEL_DEVICE)
    found = kernels.gather_sum(sources, gather, dtype)
    expected = gather_sum(sources, gather, dtype)
    for one, other, shape in zip(found, expected, shapes, strict=True):
        assert one.dtype == dtype and one.shape == (3, *shape) and torch.equal(one, other)
    assert found[0].any() and found[3].any()
