"""The policy's first layer by the kernels, against torch's, and against sums written out."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import lively_env, poisoned_memory, random_records, whole_numbers, written_out

pytest.importorskip("triton")

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels import window
from nmmo_gpu.kernels.window import Tile, window_embedding
from nmmo_gpu.train import window as plain
from nmmo_gpu.train.window import CODES, FIRST_OCCUPANT, codes
from nmmo_gpu.world.content import STANDARD, Material
from nmmo_gpu.world.layout import ObservationLayout

LEAST = Tile(16, 16, 4)
"""The smallest that tensor cores multiply."""
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Whatever is not written is NaN; torch's own sums are those of its plain path."""
    poisoned_memory(monkeypatch)
    monkeypatch.setattr(plain, "has_numba", lambda: False)


@pytest.fixture
def small_tiles(monkeypatch):
    """Many tiles for few rows and columns."""
    for tiles in (window.FORWARD, window.BACKWARD):
        for dtype in DTYPES:
            monkeypatch.setitem(tiles, dtype, LEAST)


def by_kernels(records, index, table, layout, upstream, dtype=torch.float32):
    """(embedding, gradient of the table) on the CPU; the table is cast as the policy casts it."""
    own = table.detach().clone().to(KERNEL_DEVICE).requires_grad_()
    out = window_embedding(records.to(KERNEL_DEVICE), index.to(KERNEL_DEVICE), own.to(dtype), layout)
    assert out.dtype == dtype and out.shape == (*index.shape, table.shape[-1])
    out.backward(upstream.to(KERNEL_DEVICE, dtype))
    assert own.grad.dtype == torch.float32
    return out.detach().cpu(), own.grad.cpu()


def by_torch(records, index, table, layout, upstream):
    """The same by ``nmmo_gpu.train.window``, in float64."""
    own = table.detach().double().requires_grad_()
    out = plain.window_embedding(records, index, own, layout)
    out.backward(upstream.double())
    return out.detach(), own.grad


def far(found, expected):
    """The largest difference, in units of the largest entry."""
    return float((found.double() - expected.double()).abs().max() / expected.abs().max())


# Rows and hidden size; tiles have 16 rows and 16 columns.
SIZES = {
    "one of each": (1, 1, 1),
    "whole tiles": (2, 32, 32),
    "odd ends": (3, 37, 20),
    "just over": (1, 17, 33),
    "just under": (2, 15, 15),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.usefixtures("small_tiles")
def test_whole_numbers_to_the_last_bit(sizes, dtype):
    """Small whole numbers have exact sums in any order: embedding and gradient are those written out, cell by
    cell, rounded once. Windows of 9, 25 or 81 cells, which are no whole groups; garbage in the rest of the
    records; rows of the index come several times, the last record among them."""
    populations, rows, hidden = sizes
    random = torch.Generator().manual_seed(rows)
    vision = {1: 1, 2: 2, 3: 4}[populations]
    layout = ObservationLayout(WorldConfig(vision=vision, reach=(1, 1, 1)))
    records = random_records(layout, 23, random)
    index = torch.randint(23, (populations, rows), generator=random)
    index[:, -1], index[:, 0] = 22, index[0, 0]
    table = whole_numbers(populations, (2 * vision + 1) ** 2, CODES, hidden, random=random)
    if dtype == torch.bfloat16:
        table = table.fmod(3)  # sums of 8 bits: the interpreter cuts off what a GPU rounds
    upstream = whole_numbers(populations, rows, hidden, random=random)

    out, grad = by_kernels(records, index, table, layout, upstream, dtype)

    expected = table.clone().requires_grad_()
    sums = written_out(records, index, expected, layout)
    assert torch.equal(out, sums.detach().to(dtype))
    assert dtype == torch.float32 or torch.equal(out.float(), sums.detach())
    sums.backward(upstream)
    # In bfloat16 the gradient goes through the cast of the table.
    assert torch.equal(grad, expected.grad.to(dtype).float())
    assert not grad[:, :, int(Material.GRASS)].any()
    assert out.any() and grad.any()


@pytest.mark.parametrize("kinds", [1, 3, 20])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("small_tiles")
def test_npcs_have_codes_of_their_own(kinds, dtype):
    """9, 11 or 28 codes per cell, which the kernels round up to 16 and 32: whole numbers to the last bit, in
    windows of 25 cells that are no whole groups; the gradient is that of the codes there are."""
    kind = STANDARD.npcs[0]
    content = dataclasses.replace(
        STANDARD, npcs=tuple(dataclasses.replace(kind, name=str(k)) for k in range(kinds))
    )
    config = WorldConfig(vision=2, reach=(1, 1, 1), npcs=True, content=content)
    random = torch.Generator().manual_seed(kinds)
    layout = ObservationLayout(config)
    records = random_records(layout, 23, random, occupants=3 + kinds)
    index = torch.randint(23, (2, 19), generator=random)
    table = whole_numbers(2, 25, codes(config), 12, random=random)
    if dtype == torch.bfloat16:
        table = table.fmod(3)
    upstream = whole_numbers(2, 19, 12, random=random)
    out, grad = by_kernels(records, index, table, layout, upstream, dtype)
    expected = table.clone().requires_grad_()
    sums = written_out(records, index, expected, layout)
    assert torch.equal(out, sums.detach().to(dtype))
    sums.backward(upstream)
    assert grad.shape == table.shape and torch.equal(grad, expected.grad.to(dtype).float())
    assert grad[:, :, FIRST_OCCUPANT + 3 :].flatten(0, 1).any(-1).any(0).all()


@pytest.fixture(scope="module")
def crowd():
    """(layout, records): what 60 slots see that crowd and fight in two realms, windows of 11 x 11; the empty
    ones' records are zeros."""
    env = lively_env(vision=5)
    records = env.records.view(120, -1)
    seen = env.layout.views(records)
    assert (seen["occupant"] == 2).any() and (seen["occupant"] == 1).any() and (~seen["alive"]).any()
    return env.layout, records


@pytest.mark.parametrize(
    ("dtype", "hidden", "rounding"),
    [(torch.float32, 12, 1e-6), (torch.float32, 68, 1e-6), (torch.bfloat16, 68, 1e-2)],
)
def test_a_crowded_world(crowd, dtype, hidden, rounding):
    """Against torch's, with tiles as they are used: real numbers, three populations, an index that is a
    permutation; then one in any order with repetitions."""
    layout, records = crowd
    random = torch.Generator().manual_seed(hidden)
    table = torch.randn(3, 121, CODES, hidden, generator=random)
    for index in (
        torch.arange(120).view(2, 3, 20).transpose(0, 1).reshape(3, 40),
        torch.randint(120, (3, 77), generator=random),
    ):
        upstream = torch.randn(*index.shape, hidden, generator=random)
        out, grad = by_kernels(records, index, table, layout, upstream, dtype)
        expected, slope = by_torch(records, index, table, layout, upstream)
        assert far(out, expected) < rounding and far(grad, slope) < rounding
        grass = int(Material.GRASS)
        assert not grad[:, :, grass].any() and not slope[:, :, grass].any()
        assert not grad[slope == 0].any(), "a gradient in what nobody sees"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_each_time(crowd, dtype):
    """Twice over, embedding and gradient: sums are in a fixed order."""
    layout, records = crowd
    random = torch.Generator().manual_seed(2)
    table = torch.randn(2, 121, CODES, 20, generator=random)
    index = torch.randint(120, (2, 150), generator=random)
    upstream = torch.randn(2, 150, 20, generator=random)
    one, same = (by_kernels(records, index, table, layout, upstream, dtype) for _ in range(2))
    assert torch.equal(one[0], same[0]) and torch.equal(one[1], same[1])


@pytest.mark.parametrize("programs", [1, 9, 40, 10_000])
@pytest.mark.usefixtures("small_tiles")
def test_shares_of_the_samples(monkeypatch, programs):
    """However many shares the gradient is summed in: one, some, some of them empty, or one per tile."""
    monkeypatch.setattr(window, "PROGRAMS", programs)
    random = torch.Generator().manual_seed(4)
    layout = ObservationLayout(WorldConfig(vision=2, reach=(1, 1, 1)))
    records = random_records(layout, 30, random)
    index = torch.randint(30, (2, 100), generator=random)
    table = whole_numbers(2, 25, CODES, 5, random=random)
    upstream = whole_numbers(2, 100, 5, random=random)
    expected = table.clone().requires_grad_()
    written_out(records, index, expected, layout).backward(upstream)
    shares = []
    launch = window.launch

    def watched(kernel, programs, *arguments, **constants):
        shares.append(programs)
        launch(kernel, programs, *arguments, **constants)

    monkeypatch.setattr(window, "launch", watched)
    _, grad = by_kernels(records, index, table, layout, upstream)
    assert torch.equal(grad, expected.grad)
    # Two populations, two groups of cells and one tile of columns: four programs in each share.
    assert shares[1] == 4 * {1: 1, 9: 2, 40: 7, 10_000: 7}[programs]


@pytest.mark.usefixtures("small_tiles")
def test_a_share_of_nothing(monkeypatch):
    """Whole tiles are dealt out, so that the last shares can be left with none: they are zeros, and count."""
    monkeypatch.setattr(window, "PROGRAMS", 6)
    random = torch.Generator().manual_seed(5)
    layout = ObservationLayout(WorldConfig(vision=1, reach=(1, 1, 1)))
    records = random_records(layout, 30, random)
    index = torch.randint(30, (1, 100), generator=random)
    table = whole_numbers(1, 9, CODES, 5, random=random)
    upstream = whole_numbers(1, 100, 5, random=random)
    expected = table.clone().requires_grad_()
    written_out(records, index, expected, layout).backward(upstream)
    # 100 rows in 6 shares are 17 each, which is 2 tiles: 4 shares have all.
    assert torch.equal(by_kernels(records, index, table, layout, upstream)[1], expected.grad)


def test_whatever_lies_in_memory(crowd):
    """Strided index, table and upstream gradient, such as transposes and the gradient of a sum, give what
    copies of them give."""
    layout, records = crowd
    random = torch.Generator().manual_seed(6)
    table = torch.randn(3, CODES, 121, 8, generator=random).transpose(1, 2)
    index = torch.randint(120, (9, 3), generator=random).t()
    upstream = torch.randn(8, 9, 3, generator=random).permute(2, 1, 0)
    assert not (table.is_contiguous() or index.is_contiguous() or upstream.is_contiguous())
    for slope in (upstream, torch.ones(()).expand(3, 9, 8)):
        found = by_kernels(records, index, table, layout, slope)
        copies = (part.clone(memory_format=torch.contiguous_format) for part in (index, table, slope))
        index_copy, table_copy, slope_copy = copies
        expected = by_kernels(records, index_copy, table_copy, layout, slope_copy)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_without_a_gradient(crowd):
    """The embedding alone, as when playing."""
    layout, records = crowd
    random = torch.Generator().manual_seed(7)
    table = torch.randn(1, 121, CODES, 12, generator=random)
    index = torch.arange(120)[None]
    with torch.no_grad():
        out = window_embedding(*(part.to(KERNEL_DEVICE) for part in (records, index, table)), layout)
    assert not out.requires_grad
    assert torch.equal(out.cpu(), by_kernels(records, index, table, layout, torch.zeros(1, 120, 12))[0])
