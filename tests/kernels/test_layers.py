"""The hidden layers by matrix products and kernels, compared with torch, forward and backward."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import whole_numbers

pytest.importorskip("triton")

from nmmo_gpu.kernels.train import fused_layers, layers, library_layers, tiles
from nmmo_gpu.train import layers as plain
from nmmo_gpu.train.compile import TARGETS

KINDS = {"fused": fused_layers.fused_layers, "library": library_layers.library_layers}
SMALL = tiles.Tiles(tiles.Tile(16, 32, 16, 2, 4), tiles.Tile(32, 16, 16, 2, 4))


@pytest.fixture(params=KINDS)
def hidden_layers(request):
    """The layers by one kernel each, and by products of a library and kernels between them."""
    return KINDS[request.param]


@pytest.fixture(params=["as used", "small tiles"])
def tile_sizes(request, monkeypatch):
    """Uses the default tile sizes, and small ones that need many tiles for few rows and columns."""
    if request.param == "small tiles":
        for name, size in (("ELEMENTS", 64), ("WIDTH", 16), ("STEPS", 3)):
            monkeypatch.setattr(library_layers, name, size)
        monkeypatch.setattr(fused_layers, "tiles_for", lambda target: SMALL)


def drawn(populations, rows, hidden, number, random, scale=1.0):
    """Returns random (total, matrices, biases, upstream gradient): whole numbers, times ``scale``."""
    total = whole_numbers(populations, rows, hidden, random=random) * scale
    matrices = [whole_numbers(populations, hidden, hidden, random=random).sign() for _ in range(number)]
    biases = [whole_numbers(populations, 1, hidden, random=random) * scale for _ in range(number)]
    return total, matrices, biases, whole_numbers(populations, rows, hidden, random=random).sign()


def run(function, total, matrices, biases, upstream, dtype, device):
    """Returns the output and the gradients of total, matrices and biases, on the CPU."""
    leaves = [
        part.detach().to(device, dtype, copy=True).requires_grad_() for part in (total, *matrices, *biases)
    ]
    number = len(matrices)
    out = function(leaves[0], leaves[1 : 1 + number], leaves[1 + number :])
    assert out.dtype == dtype and out.shape == total.shape
    out.backward(upstream.to(device, dtype))
    return [part.detach().cpu() for part in (out, *(leaf.grad for leaf in leaves))]


SIZES = {
    "one of each": (1, 1, 4, 1),
    "odd ends": (3, 37, 20, 2),
    "whole tiles": (2, 48, 32, 3),
    "just over": (1, 49, 36, 4),
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.usefixtures("tile_sizes")
def test_whole_numbers_to_the_last_bit(sizes, hidden_layers):
    """Sums of small whole numbers are exact in any order, so output and all gradients equal those of torch.
    Some units are exactly zero and therefore inactive."""
    parts = drawn(*sizes, random=torch.Generator().manual_seed(sum(sizes)))
    found = run(hidden_layers, *parts, torch.float32, KERNEL_DEVICE)
    expected = run(plain.hidden_layers, *parts, torch.float64, torch.device("cpu"))
    assert len(found) == 2 + 2 * sizes[3]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.double(), other)
    assert sizes[1] == 1 or found[0].any()


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.usefixtures("tile_sizes")
def test_real_numbers(dtype, rounding, hidden_layers):
    """Compared with torch in float64, up to units that rounding switches on or off; repeated runs are
    equal."""
    random = torch.Generator().manual_seed(3)
    total = torch.randn(2, 33, 24, generator=random)
    matrices = [torch.randn(2, 24, 24, generator=random) / 5 for _ in range(3)]
    biases = [torch.randn(2, 1, 24, generator=random) for _ in range(3)]
    upstream = torch.randn(2, 33, 24, generator=random)
    parts = total.bfloat16(), [m.bfloat16() for m in matrices], [b.bfloat16() for b in biases], upstream
    found = run(hidden_layers, *parts, dtype, KERNEL_DEVICE)
    again = run(hidden_layers, *parts, dtype, KERNEL_DEVICE)
    expected = run(plain.hidden_layers, *parts, torch.float64, torch.device("cpu"))
    for one, same, other in zip(found, again, expected, strict=True):
        assert torch.equal(one, same)
        assert float((one.double() - other).norm() / other.norm()) < rounding


def test_without_a_gradient(hidden_layers):
    """Only the output, as in a rollout: it is the same bit by bit, nothing is saved, the sums are
    unchanged."""
    total, matrices, biases, upstream = drawn(2, 37, 20, 3, random=torch.Generator().manual_seed(5))
    expected = run(hidden_layers, total, matrices, biases, upstream, torch.float32, KERNEL_DEVICE)[0]
    there = total.to(KERNEL_DEVICE)
    with torch.no_grad():
        out = hidden_layers(
            there, [m.to(KERNEL_DEVICE) for m in matrices], [b.to(KERNEL_DEVICE) for b in biases]
        )
    assert not out.requires_grad and torch.equal(out.cpu(), expected)
    assert torch.equal(there.cpu(), total)


def test_upstream_is_unchanged(hidden_layers):
    """The gradient of a sum is expanded, not contiguous, and may be used elsewhere, so it must not be
    changed."""
    total, matrices, biases, _ = drawn(1, 9, 8, 3, random=torch.Generator().manual_seed(6))
    upstream = torch.ones(()).expand(1, 9, 8)
    kept = torch.ones(1, 9, 8)
    found = run(hidden_layers, total, matrices, biases, upstream, torch.float32, KERNEL_DEVICE)
    same = run(hidden_layers, total, matrices, biases, kept, torch.float32, KERNEL_DEVICE)
    assert torch.equal(kept, torch.ones(1, 9, 8))
    for one, other in zip(found, same, strict=True):
        assert torch.equal(one, other)


def test_nan_propagates(hidden_layers):
    """A ReLU that turned NaN into zero would hide that training has diverged."""
    total, matrices, biases, _ = drawn(1, 5, 8, 2, random=torch.Generator().manual_seed(7))
    biases[1][0, 0, 3] = float("nan")
    with torch.no_grad():
        args = [[part.to(KERNEL_DEVICE) for part in parts] for parts in (matrices, biases)]
        out = hidden_layers(total.to(KERNEL_DEVICE), *args).cpu()
    assert out[..., 3].isnan().all() and not out[..., :3].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused", [False, True])
def test_the_table_selects_the_kind(dtype, fused, monkeypatch):
    """Layers in bfloat16 are kernels on targets for which the table says so; those in float32 never are."""
    target = tiles.target_of(KERNEL_DEVICE)
    monkeypatch.setitem(tiles.FUSED, target, fused)
    called = []
    for kind in KINDS:
        name = f"{kind}_layers"
        monkeypatch.setattr(layers, name, lambda *parts, name=name: called.append(name))
    layers.hidden_layers(torch.zeros(1, 2, 8, dtype=dtype, device=KERNEL_DEVICE), [], [])
    assert called == ["fused_layers" if fused and dtype == torch.bfloat16 else "library_layers"]


def test_every_target_has_tiles():
    """Tiles are powers of two, which a product needs, and an unknown GPU gets those of the oldest."""
    assert tiles.TILES.keys() == tiles.FUSED.keys() == TARGETS.keys()
    for both in tiles.TILES.values():
        for tile in both:
            assert all(size & (size - 1) == 0 for size in (tile.rows, tile.columns, tile.depth, tile.warps))
    found = {name: tiles.nearest_target(target[1]) for name, target in TARGETS.items()}
    assert found == {name: name for name in TARGETS}
    assert [tiles.nearest_target(other) for other in (75, 86, 89, 103, 120)] == [
        *["sm_80"] * 3,
        "sm_100",
        "sm_80",
    ]
