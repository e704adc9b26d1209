"""Large worlds: the same rules and bits, and sizes that fit their dtypes."""

from __future__ import annotations

import pytest
import torch
from support.helpers import assert_same, check_invariants, random_maps
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.spawning import birthplace
from nmmo_gpu.world.state import World, field_shape, stock_fields
from nmmo_gpu.world.terrain import safe_table

MILLION = preset("million")
LARGE = preset("million", height=1449, width=1449, slots=1 << 15)
"""64 tiles per slot, and just above 2^21 in all, so that the compiled loops observe row by row."""


def begin(config: WorldConfig) -> World:
    maps = random_maps(config, 1, torch.Generator().manual_seed(2), odds="~.ff..#%")
    return empty_world(config, maps, 9)


def play(world: World, backend: Backend, ticks: int) -> list[tuple[str, Tensor]]:
    """Returns (digest, records) after each of the first ticks, in which all agents move and attack nearby
    ones."""
    shape, nearest = world.alive.shape, world.config.nearest
    random = torch.Generator().manual_seed(5)
    seen = torch.full((*shape, nearest), -1, dtype=torch.int32)
    story = []
    for _ in range(ticks):
        move, style = (torch.randint(choices, shape, generator=random) for choices in (5, 3))
        row = torch.randint(nearest, (*shape, 1), generator=random)
        tick.step(world, backend, move, style, seen.gather(2, row).squeeze(2).long())
        records = ObservationLayout(world.config).allocate(*shape, device="cpu")
        backend.observe(world, records, seen)
        story.append((world.digest(), records))
    return story


@pytest.fixture
def numba() -> Backend:
    pytest.importorskip("numba")
    return resolve("numba", torch.device("cpu"))


def test_thirty_thousand_agents_in_one_realm_are_the_same_by_torch_and_by_numba(numba):
    """From the first births on; all invariants hold, and the map is filled evenly."""
    by_torch, by_numba = begin(LARGE), begin(LARGE)
    steps = zip(play(by_torch, Backend(), 5), play(by_numba, numba, 5), strict=True)
    for time, (one, other) in enumerate(steps):
        assert one[0] == other[0] and torch.equal(one[1], other[1]), f"tick {time}"
    assert_same(by_numba, by_torch)
    check_invariants(by_torch)
    assert float(by_torch.alive.float().mean()) > 0.95
    room = safe_table()[by_torch.base[0].long()]
    third = (LARGE.width - 2 * LARGE.border) // 3
    for top in range(3):
        for left in range(3):
            rows, columns = (
                slice(LARGE.border + k * third, LARGE.border + (k + 1) * third) for k in (top, left)
            )
            share = (by_torch.occupant[0, rows, columns] > 0).sum() / room[rows, columns].sum()
            assert abs(float(share) * int(room.sum()) / int(by_torch.alive.sum()) - 1) < 0.1, (top, left)


def test_threads_that_share_a_realm_give_the_same_world(numba):
    before, stories = torch.get_num_threads(), []
    for workers in (1, 3):
        torch.set_num_threads(workers)
        try:
            world = begin(LARGE)
            stories.append(play(world, numba, 20))
        finally:
            torch.set_num_threads(before)
    for time, (one, other) in enumerate(zip(*stories, strict=True)):
        assert one[0] == other[0] and torch.equal(one[1], other[1]), f"tick {time}"
    check_invariants(world)


def test_indices_of_a_million_agents_fit():
    """Indices into every plane fit int32, rows and columns the int16 of observations."""
    for field in stock_fields():
        shape = field_shape(field, World.sizes(MILLION, 1))
        assert torch.Size(shape).numel() < 1 << 31, field.name
    assert max(MILLION.height, MILLION.width) <= torch.iinfo(torch.int16).max
    last = torch.tensor([0, MILLION.birthplaces - 1])
    side, border = MILLION.width, MILLION.border
    assert birthplace(MILLION, last).tolist() == [border * (side + 1), (side - border - 1) * (side + 1)]


@pytest.mark.parametrize("long", ["height", "width"])
def test_the_far_end_of_the_longest_map(backend, long):
    """8192 tiles in one direction: agents born in the last rows or columns live there like others."""
    config = preset("million", **{"height": 64, "width": 64, long: 8192}, slots=8192)
    world = begin(config)
    play(world, backend, 4)
    check_invariants(world)
    place = world.row if long == "height" else world.col
    assert int(place[world.alive].max()) > 8175 and int(place[world.alive].min()) < 16
