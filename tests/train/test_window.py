"""The window embedding in torch and numba: values and gradient compared with explicit sums."""

from __future__ import annotations

import importlib

import pytest
import torch
from train.small import random_records, whole_numbers, written_out

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import Material
from nmmo_gpu.train import window
from nmmo_gpu.world.network_inputs import CODES, FIRST_OCCUPANT, codes
from nmmo_gpu.world.observation_layout import ObservationLayout


def compiled():
    """Returns the numba version."""
    pytest.importorskip("numba")
    return importlib.import_module("nmmo_gpu.cpu.train.window").window_embedding


@pytest.fixture(params=["numba", "torch"])
def window_embedding(request):
    """Returns the numba version and the torch version."""
    return compiled() if request.param == "numba" else window.window_embedding


def assert_written_out(out, records, index, table, layout, random):
    """Values and the table's gradient equal those of ``written_out``, bit for bit on whole numbers."""
    by_autograd = table.detach().clone().requires_grad_()
    expected = written_out(records, index, by_autograd, layout)
    assert torch.equal(out, expected)
    upstream = whole_numbers(*out.shape, random=random)
    out.backward(upstream)
    expected.backward(upstream)
    assert torch.equal(table.grad, by_autograd.grad)


SIZES = {
    "one population": (1, 7, 5, 3),
    "three populations": (3, 5, 11, 5),
    "one row each": (3, 1, 4, 8),
    "more rows than records": (2, 13, 3, 16),
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("vision", [1, 4])
def test_values_and_gradient_match_explicit_sums(sizes, vision, window_embedding):
    """Bit for bit on whole numbers; rows of the index repeat, the last among them."""
    populations, batch, rows, hidden = sizes
    random = torch.Generator().manual_seed(populations * 100 + batch)
    layout = ObservationLayout(WorldConfig(vision=vision, reach=(1, 1, 1)))
    records = random_records(layout, rows, random)
    index = torch.randint(rows, (populations, batch), generator=random)
    index[:, -1] = rows - 1
    table = whole_numbers(populations, (2 * vision + 1) ** 2, CODES, hidden, random=random)
    table.requires_grad_()

    out = window_embedding(records, index, table, layout)

    plain = window_embedding is window.window_embedding
    assert (type(out.grad_fn).__name__ == "WindowEmbeddingBackward") == (not plain)
    assert out.shape == (populations, batch, hidden) and out.dtype == torch.float32
    assert_written_out(out, records, index, table, layout, random)
    assert table.grad.abs().sum() > 0


def test_npcs_have_their_own_rows(window_embedding):
    """With NPCs there are three more codes, one per kind. On whole numbers, values and gradient are exact,
    and every kind has its own embedding."""
    random = torch.Generator().manual_seed(12)
    config = WorldConfig(vision=5, npcs=True)
    layout = ObservationLayout(config)
    assert codes(config) == CODES + 3 and codes(WorldConfig()) == CODES
    records = random_records(layout, 9, random, occupants=6)
    index = torch.randint(9, (2, 13), generator=random)
    table = whole_numbers(2, 121, codes(config), 5, random=random).requires_grad_()
    out = window_embedding(records, index, table, layout)
    assert_written_out(out, records, index, table, layout, random)
    assert table.grad[:, :, FIRST_OCCUPANT + 3 :].flatten(0, 1).any(-1).any(0).all()


def test_gradient_matches_finite_differences(window_embedding):
    """The embedding is linear: moving one entry by 1 changes the loss by exactly its gradient."""
    random = torch.Generator().manual_seed(5)
    layout = ObservationLayout(WorldConfig(vision=1, reach=(1, 1, 1)))
    records = random_records(layout, 6, random)
    index = torch.tensor([[0, 3, 3], [5, 1, 0]])
    table = whole_numbers(2, 9, CODES, 2, random=random).requires_grad_()
    upstream = whole_numbers(2, 3, 2, random=random)

    def loss(entries):
        return (window_embedding(records, index, entries, layout) * upstream).sum()

    loss(table).backward()
    at = torch.randint(table.numel(), (60,), generator=random).tolist()
    differences = []
    for entry in at:
        moved = table.detach().clone()
        moved.view(-1)[entry] += 1.0
        differences.append(loss(moved) - loss(table.detach()))
    found = torch.stack(differences)
    assert torch.equal(found, table.grad.view(-1)[at])
    assert found.count_nonzero() > 3


def test_gradient_of_a_sum(window_embedding):
    """The upstream gradient of ``sum`` is one number with strides of zero; every entry's gradient is how
    often its row is used."""
    random = torch.Generator().manual_seed(6)
    layout = ObservationLayout(WorldConfig(vision=2, reach=(1, 1, 1)))
    records = random_records(layout, 5, random)
    index = torch.tensor([[0, 0, 4, 2, 1], [1, 3, 3, 3, 0]])
    table = torch.zeros(2, 25, CODES, 3, requires_grad=True)
    window_embedding(records, index, table, layout).sum().backward()
    counts = torch.zeros(2, 25, CODES)
    for p in range(2):
        for row in index[p].tolist():
            views = layout.views(records[row])
            for cell in range(25):
                ground, other = (int(views[name].flatten()[cell]) for name in ("material", "occupant"))
                counts[p, cell, ground] += ground != Material.GRASS
                if other:
                    counts[p, cell, FIRST_OCCUPANT + other] += 1
    assert torch.equal(table.grad, counts[..., None].expand(-1, -1, -1, 3))


def test_grass_without_occupants_adds_nothing(window_embedding):
    """A batch that uses no row of the table gives zeros and a gradient of zeros."""
    layout = ObservationLayout(WorldConfig(vision=2, reach=(1, 1, 1)))
    records = layout.allocate(3, device="cpu")
    layout.views(records)["material"].fill_(int(Material.GRASS))
    table = torch.full((2, 25, CODES, 4), 7.0, requires_grad=True)
    out = window_embedding(records, torch.tensor([[0, 1, 2], [2, 2, 0]]), table, layout)
    assert torch.equal(out, torch.zeros(2, 3, 4))
    out.sum().backward()
    assert torch.equal(table.grad, torch.zeros_like(table))


def test_records_of_empty_slots_read_as_lava(window_embedding):
    """They are all zeros, which is material 0 in every cell, and must not fail."""
    layout = ObservationLayout(WorldConfig(vision=1, reach=(1, 1, 1)))
    table = whole_numbers(1, 9, CODES, 3, random=torch.Generator().manual_seed(1))
    out = window_embedding(layout.allocate(2, device="cpu"), torch.tensor([[1]]), table, layout)
    assert torch.equal(out[0, 0], table[0, :, int(Material.LAVA)].sum(0))


def test_numba_and_torch_agree_at_full_size():
    """With real numbers, the stock vision and an odd batch, values and gradient agree up to rounding."""
    random = torch.Generator().manual_seed(9)
    layout = ObservationLayout(WorldConfig())
    records = random_records(layout, 300, random)
    index = torch.randint(300, (3, 257), generator=random)
    first = torch.randn(3, WorldConfig().window ** 2, CODES, 33, generator=random)
    upstream = torch.randn(3, 257, 33, generator=random)
    found = []
    for window_embedding in (compiled(), window.window_embedding):
        table = first.clone().requires_grad_()
        out = window_embedding(records, index, table, layout)
        out.backward(upstream)
        found.append((out.detach(), table.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_number_of_threads_does_not_matter(window_embedding):
    """One and three threads give the same bits of values and gradient."""
    random = torch.Generator().manual_seed(10)
    layout = ObservationLayout(WorldConfig(vision=3, reach=(1, 1, 1)))
    records = random_records(layout, 90, random)
    index = torch.randint(90, (2, 101), generator=random)
    first = torch.randn(2, 49, CODES, 16, generator=random)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            table = first.clone().requires_grad_()
            out = window_embedding(records, index, table, layout)
            out.square().sum().backward()
            found.append((out.detach(), table.grad))
    finally:
        torch.set_num_threads(before)
    if window_embedding is not window.window_embedding:
        assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    else:
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_result_has_the_tables_dtype(window_embedding, dtype):
    """Also where sums are computed in another dtype."""
    layout = ObservationLayout(WorldConfig(vision=1, reach=(1, 1, 1)))
    records = random_records(layout, 3, torch.Generator().manual_seed(2))
    table = torch.ones(1, 9, CODES, 2, dtype=dtype, requires_grad=True)
    out = window_embedding(records, torch.tensor([[0, 1, 2]]), table, layout)
    assert out.dtype == dtype and out.any()
    out.float().sum().backward()
    assert table.grad.dtype == dtype and table.grad.any()
