"""Regrowth: the distribution of the waiting time, and the tick in which a tile returns."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from support.helpers import ODD, assert_same, blank_maps, chi_square, draw_world, orders, place, show

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world import tick
from nmmo_gpu.world.random import MASK32
from nmmo_gpu.world.regrowth import TICK_MASK, schedule
from nmmo_gpu.world.regrowth_table import NEVER, thresholds, waiting_ticks
from nmmo_gpu.world.reset import empty_world

CHANCE = 0.025


def agents_on_forest(realms=40, slots=60, chance=CHANCE, seed=1):
    """Returns a world in which each agent is on a forest tile of its own."""
    config = preset("law", **ODD, slots=slots, populations=1, births=0, regrowth=chance)
    world = empty_world(config, blank_maps(config, realms, "f"), seed)
    for realm in range(realms):
        for slot in range(slots):
            place(world, realm, slot, 9 + slot // 20, 10 + slot % 20)
    return world


def waits(backend, world, now=50):
    """Returns [R, A], the ticks until the tile that each agent eats in tick ``now`` returns."""
    world.tick.fill_(now)
    backend.upkeep(world)
    assert (world.material.view(-1)[world.tile()] == Material.SCRUB).all()
    due = world.regrow_at.view(-1)[world.tile()].view_as(world.alive).long()
    assert (world.regrow_at != NEVER).sum() == world.alive.sum()
    return due - now


def geometric_bins(wait, chance, bins=20):
    """Returns (counts, expected) of waits in bins of nearly equal probability."""
    edges = [0]
    for k in range(1, bins):
        edge = math.ceil(math.log1p(-k / bins) / math.log1p(-chance))
        if edge > edges[-1]:
            edges.append(edge)
    upper = torch.tensor([*edges[1:], 1 << 40])
    counts = torch.bincount(torch.bucketize(wait.view(-1), upper), minlength=len(upper))
    survive = torch.tensor([(1 - chance) ** e for e in edges] + [0.0], dtype=torch.float64)
    return counts, (survive[:-1] - survive[1:]) * wait.numel()


def test_the_wait_is_geometric(backend):
    """The mean is 1/p, the variance (1-p)/p^2, the minimum 1, and twenty bins of equal probability are
    equally full."""
    wait = waits(backend, agents_on_forest())
    assert int(wait.min()) >= 1
    n = wait.numel()
    assert abs(float(wait.double().mean()) - 1 / CHANCE) < 4 * ((1 - CHANCE) / CHANCE**2 / n) ** 0.5
    assert abs(float(wait.double().var()) / ((1 - CHANCE) / CHANCE**2) - 1) < 4 * (8 / n) ** 0.5
    statistic, limit = chi_square(*geometric_bins(wait, CHANCE))
    assert statistic < limit


@pytest.mark.parametrize("chance", [0.5, 0.05, 0.003])
def test_other_chances_are_geometric_too(backend, chance):
    statistic, limit = chi_square(*geometric_bins(waits(backend, agents_on_forest(chance=chance)), chance))
    assert statistic < limit


def test_the_wait_equals_a_draw_per_tick_in_distribution(backend):
    """Waits drawn once are compared with those of tiles that draw in every tick."""
    drawn = waits(backend, agents_on_forest()).view(-1)
    random = torch.Generator().manual_seed(3)
    per_tick = torch.zeros(len(drawn), dtype=torch.int64)
    left = torch.ones(len(drawn), dtype=torch.bool)
    for time in range(1, 2000):
        returns = left & (torch.rand(len(drawn), generator=random) < CHANCE)
        per_tick[returns] = time
        left &= ~returns
    assert not left.any()
    # Two-sample Kolmogorov-Smirnov test for samples of one size; the bound corresponds to a chance of about
    # 1e-4.
    at = torch.arange(1, 400)
    gap = (torch.searchsorted(drawn.sort()[0], at, right=True)
           - torch.searchsorted(per_tick.sort()[0], at, right=True)).abs().max() / len(drawn)  # fmt: skip
    assert float(gap) < 2.2 * (2 / len(drawn)) ** 0.5


def test_tiles_ticks_realms_and_seeds_wait_differently(backend):
    base = waits(backend, agents_on_forest(realms=2))
    assert not torch.equal(base[0], base[1]) and len(base[0].unique()) > 20
    assert not torch.equal(base, waits(backend, agents_on_forest(realms=2), now=51))
    assert not torch.equal(base, waits(backend, agents_on_forest(realms=2, seed=2)))
    assert torch.equal(base, waits(backend, agents_on_forest(realms=2)))
    assert torch.equal(base[:1], waits(backend, agents_on_forest(realms=1)))


@pytest.mark.parametrize("chance", [0.025, 0.05, 0.5, 0.9, 0.999, 0.001])
def test_thresholds_are_the_increasing_cumulative_distribution(chance):
    """Exactly: entry n - 1 over 2^32 is 1 - (1-p)^n, rounded down."""
    table = thresholds(chance)
    assert all(a < b for a, b in itertools.pairwise(table))
    assert table[0] > 0 and table[-1] <= 1 << 32
    for n, entry in enumerate(table, 1):
        exact = -math.expm1(n * math.log1p(-chance)) * 2**32
        assert exact - 1.5 < entry < exact + 0.5
    assert (1 << 32) - table[-1] < 2 / chance, "the probability beyond the table"


def test_waiting_ticks_at_the_edges_of_the_thresholds():
    """A word below entry n - 1 means at most n ticks."""
    table = thresholds(CHANCE)
    word = torch.tensor([0, table[0] - 1, table[0], table[1] - 1, table[1], table[-1] - 1, table[-1], MASK32])
    length = len(table)
    expected = [1, 1, 2, 2, 3, length, length + 1, length + 1]
    assert waiting_ticks(word, CHANCE).tolist() == expected


def test_chances_0_and_1():
    assert thresholds(0.0) == ()
    ends = torch.tensor([0, 1, 1 << 31, MASK32])
    assert waiting_ticks(ends, 1.0).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("chance", [1e-5, 1e-10, 1e-300])
def test_a_chance_too_small_to_be_drawn_is_refused(chance):
    """Its table of waiting times would not fit in memory, and a truncated table would return tiles
    immediately."""
    with pytest.raises(ConfigError, match="regrowth"):
        WorldConfig(regrowth=chance)


def test_regrowth_0_never_returns_a_tile(backend):
    picture = "0f"
    world = draw_world(picture, regrowth=0.0, under={"0": "f"}, preset_name="law")
    for _ in range(200):
        world.food.fill_(20)
        world.water.fill_(20)
        tick.step(world, backend, *orders(world))
    assert (world.regrow_at == NEVER).all()
    assert int(world.material[0, 8, 8]) == Material.SCRUB and show(world, picture) == ["0f"]


def test_regrowth_1_returns_a_tile_in_the_next_tick(any_backend):
    """An agent on the tile eats it again, so its food increases by 5 - 1 each tick."""
    world = draw_world("0", regrowth=1.0, under={"0": "f"}, preset_name="law")
    world.food.fill_(4)
    for time in range(5):
        tick.step(world, any_backend, *orders(world))
        assert world.food[0, 0] == 4 + 4 * (time + 1)
        assert world.regrow_at[0, 8, 8] == time + 1
        assert world.material[0, 8, 8] == Material.SCRUB  # eaten this tick again


def test_a_tile_returns_exactly_at_its_tick(any_backend):
    """Eaten in tick 0, it is scrub until its tick, and forest from then on."""
    picture = "0."
    world = draw_world(picture, regrowth=CHANCE, under={"0": "f"}, preset_name="law", seed=5)
    tick.step(world, any_backend, *orders(world))
    due = int(world.regrow_at[0, 8, 8])
    assert due >= 2
    tick.step(world, any_backend, *orders(world, move={0: "east"}))
    while int(world.tick) < due:
        assert show(world, picture)[0] == (",0" if world.alive[0, 0] else ",.")
        assert world.regrow_at[0, 8, 8] == due
        tick.step(world, any_backend, *orders(world))
    assert show(world, picture)[0][0] == ","
    tick.step(world, any_backend, *orders(world))
    assert show(world, picture)[0][0] == "f"
    assert (world.regrow_at == NEVER).all()
    assert torch.equal(world.material, world.base)


@pytest.mark.parametrize("now", [0, 7, TICK_MASK - 1, TICK_MASK, 1 << 31, (1 << 31) + 9, (5 << 32) + 3])
def test_only_due_tiles_return_and_to_their_base(any_backend, now):
    """Ticks beyond 31 bits wrap around; tiles due one tick earlier or later do not return."""
    world = draw_world("fff\n,,,\n...", slots=1, realms=3, regrowth=CHANCE)
    world.tick.fill_(now)
    world.material[:, 8, 8:11] = int(Material.SCRUB)
    for column, shift in enumerate((-1, 0, 1)):
        world.regrow_at[1, 8, 8 + column] = now + shift & TICK_MASK
        world.regrow_at[2, 8, 8 + column] = now + 1 & TICK_MASK
    world.material[0, 10, 8] = int(Material.SCRUB)
    world.regrow_at[0, 10, 8] = now & TICK_MASK
    expected = world.clone()
    expected.material[0, 10, 8] = int(Material.GRASS)
    expected.regrow_at[0, 10, 8] = NEVER
    expected.material[1, 8, 9] = int(Material.FOREST)
    expected.regrow_at[1, 8, 9] = NEVER
    any_backend.regrowth(world)
    assert_same(world, expected)


@pytest.mark.parametrize("now", [TICK_MASK - 2, TICK_MASK, (1 << 31) - 3, (3 << 32) - 2])
def test_a_wait_across_the_wrap_of_31_bits_ends_in_time(any_backend, now):
    world = agents_on_forest(realms=1, slots=20)
    world.tick.fill_(now)
    any_backend.upkeep(world)
    due = world.regrow_at.view(-1)[world.tile()].long()
    assert ((due >= 0) & (due <= TICK_MASK)).all()
    wait = (due - now) & TICK_MASK
    assert (wait >= 1).all() and (wait < 900).all()
    last = int(wait.max())
    for time in range(now + 1, now + last + 1):
        world.tick.fill_(time)
        any_backend.regrowth(world)
        back = world.material.view(-1)[world.tile()] == Material.FOREST
        assert torch.equal(back, wait <= time - now)


def test_schedule_of_no_tile_and_of_some():
    world = agents_on_forest(realms=2, slots=4)
    before = world.clone()
    schedule(world, torch.empty(0, dtype=torch.int64))
    assert_same(world, before)
    area = ODD["height"] * ODD["width"]
    tiles = torch.tensor([5, 7, area + 5])
    schedule(world, tiles)
    due = world.regrow_at.view(-1)
    assert (due[tiles] > 0).all() and (due != NEVER).sum() == 3
