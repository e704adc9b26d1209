"""The compiled twins against the rules in torch: every phase and whole ticks, to the last bit."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
import torch
from support.helpers import (
    GARBAGE,
    ODD,
    assert_same,
    check_invariants,
    random_orders,
    random_world,
    unclean,
)
from support.ticking import CPU, step_together, take_turns

from nmmo_gpu.config import preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause

pytest.importorskip("numba")
observation = importlib.import_module("nmmo_gpu.cpu.observation")
TORCH, NUMBA = resolve("torch", CPU), resolve("numba", CPU)
SEEDS = range(6)

CONFIGS = {
    "chaos-7x7": (1, preset("chaos", **ODD, slots=7, populations=7, births=1)),
    "law-7x1": (3, preset("law", **ODD, slots=7, populations=1, births=3)),
    "chaos-crowd": (3, preset("chaos", **ODD, slots=240, populations=8, births=-1)),
    "chaos-crowd-few-born": (
        3, preset("chaos", **{**ODD, "border": 12}, slots=150, populations=3, births=3, regrowth=0.4),
    ),
    "chaos-anywhere": (
        3, preset("chaos", **ODD, slots=240, populations=8, births=-1, spawn="anywhere"),
    ),
    "chaos-anywhere-few-born": (
        3, preset("chaos", **ODD, slots=60, populations=3, births=3, spawn="anywhere", regrowth=0.4),
    ),
    "odd-rules": (
        1,
        preset(
            "law", **ODD, slots=60, populations=2, births=-1, reach=(2, 7, 5), damage=(0, 9, 3), forage=40,
            heal_above=3, freeze_ticks=9, immune_ticks=2, max_health=100, max_food=90, max_water=127,
            regrowth=1.0,
        ),
    ),
}  # fmt: skip


EXTENDED = {
    "full-7x7": (3, preset("full", **ODD, slots=7, populations=7, births=1, npc_numbers=(5, 7, 3))),
    "full-crowd": (
        3,
        preset("full", **ODD, slots=120, populations=8, births=-1, npc_numbers=(9, 14, 6), ore_regrowth=0.4),
    ),
    "full-anywhere-few-born": (
        1,
        preset(
            "full", **ODD, slots=60, populations=3, births=3, spawn="anywhere", npc_numbers=(0, 1, 0),
            birth_gold=1234, max_health=77, freeze_ticks=9, immune_ticks=2,
        ),
    ),
    "chaos-with-npcs": (3, preset("chaos", **ODD, slots=40, populations=5, births=-1, npcs=True)),
    "law-with-skills": (
        3, preset("law", **ODD, slots=60, populations=2, births=3, skills=True, works=("fish", "mine")),
    ),
    "chaos-with-work": (
        3, preset("chaos", **ODD, slots=60, populations=2, births=3, works=("mine",), regrowth=0.0),
    ),
}  # fmt: skip
"""With systems of the full game, alone and together; with NPCs and without."""
ALL = CONFIGS | EXTENDED


@pytest.fixture(params=CONFIGS)
def setting(request):
    """(realms, config)"""
    return CONFIGS[request.param]


@pytest.fixture(params=ALL)
def any_setting(request):
    """As ``setting``, those of the full game as well."""
    return ALL[request.param]


def worlds(setting, *, wounded=False):
    """Random worlds, from nearly empty to full, some with every tile of the ring taken."""
    realms, config = setting
    for seed in SEEDS:
        fill = (0.02, 0.3, 0.6, 0.9, 1.0, 1.0)[seed]
        yield seed, random_world(config, realms, seed, fill=fill, full=seed == 4, wounded=wounded)


def both(phase, world, *orders):
    """The world after a phase by torch; fails unless numba makes the same of it."""
    ours, theirs = world.clone(), world.clone()
    kept = [order.clone() for order in orders]
    getattr(TORCH, phase)(ours, *orders)
    getattr(NUMBA, phase)(theirs, *orders)
    assert_same(theirs, ours, f"{phase}: numba, then torch")
    assert all(torch.equal(a, b) for a, b in zip(orders, kept, strict=True)), f"{phase} changed its orders"
    assert unclean(ours) == unclean(theirs) == []
    return ours


def test_combat(setting):
    """Its damage plane is poisoned: both must write it whole."""
    killed = hurt = 0
    for seed, world in worlds(setting):
        world.damage.fill_(GARBAGE)
        random = torch.Generator().manual_seed(seed)
        _, style, target = random_orders(world, random)
        after = both("combat", world, style, target)
        hurt += int((after.damage > 0).sum())
        killed += int((after.cause == Cause.COMBAT).sum())
    assert (hurt > 0 and killed > 0) == any(setting[1].damage) or setting[1].slots == 7


def test_movement(any_setting):
    moved = 0
    for seed, world in worlds(any_setting, wounded=True):
        move = random_orders(world, torch.Generator().manual_seed(seed))[0]
        after = both("movement", world, move)
        moved += int((after.tile() != world.tile()).sum())
    assert moved > 0


def test_movement_where_all_want_the_same(any_setting):
    """Everybody to one side, and towards the middle: blocked rows, and contests of four."""
    for seed, world in worlds(any_setting):
        for direction in range(1, 5):
            world = both("movement", world, torch.full(world.alive.shape, direction))
            world.tick += 1
        for _ in range(4):
            south, east = world.row < 16 + seed % 3, world.col < 23
            vertical = torch.where(south, 2, 4)
            horizontal = torch.where(east, 1, 3)
            random = torch.rand(world.alive.shape, generator=torch.Generator().manual_seed(seed))
            world = both("movement", world, torch.where(random < 0.5, vertical, horizontal))
            world.tick += 1


@pytest.mark.parametrize("births", [0, 1, 3, -1])
def test_spawning(any_setting, births):
    """What free slots hold is garbage; some rings are full."""
    realms, config = any_setting
    config = dataclasses.replace(config, births=births)
    born = 0
    for _, world in worlds((realms, config)):
        for _ in range(3):
            after = both("spawning", world)
            born += int(after.alive.sum() - world.alive.sum())
            world = after
            world.tick += 1
    assert (born > 0) == (births != 0)


def test_spawning_onto_the_last_free_tiles():
    """Every tile of the ring but three is taken, and 60 slots draw."""
    config = preset("chaos", **ODD, slots=157, populations=1, births=-1)
    born = 0
    for seed in range(20):
        world = random_world(config, 3, seed, fill=97 / 157, full=True)
        after = both("spawning", world)
        born += int(after.alive.sum() - world.alive.sum())
        assert int((after.occupant != 0).sum()) == int(after.alive.sum())
    assert 60 < born <= 180


@pytest.mark.parametrize("births", [-1, 40])
def test_spawning_anywhere_onto_the_last_free_tiles(births):
    """All but a few tiles are water or lava, and hundreds of slots draw: many meet on one tile."""
    config = preset("chaos", **ODD, slots=600, populations=6, births=births, spawn="anywhere")
    born = 0
    for seed in range(20):
        world = random_world(config, 3, seed, fill=0.05)
        keep = torch.rand(world.material.shape, generator=torch.Generator().manual_seed(seed)) < 0.03
        world.material[~keep & (world.occupant == 0)] = seed % 2  # lava, water
        after = both("spawning", world)
        born += int(after.alive.sum() - world.alive.sum())
        assert int((after.occupant != 0).sum()) == int(after.alive.sum())
        assert (after.occupant >= 0).all()
    assert born > 20


def test_regrowth(any_setting):
    returned = 0
    for _, world in worlds(any_setting):
        after = both("regrowth", world)
        returned += int((after.material != world.material).sum())
    assert returned > 0


def test_upkeep(any_setting):
    """With the killed, the chilled, the starving, and those on lava."""
    seen = set()
    for seed, world in worlds(any_setting, wounded=True):
        chance = torch.rand(world.alive.shape, generator=torch.Generator().manual_seed(seed))
        on_lava = world.tile()[(world.alive & (chance < 0.4)).view(-1)]
        world.material.view(-1)[on_lava] = 0
        world.regrow_at.view(-1)[on_lava] = -1
        world.food[world.row % 3 == seed % 3] = 1
        world.water[world.col % 3 == seed % 3] = 1
        after = both("upkeep", world)
        seen |= set(after.cause.unique().tolist())
        assert not after.chilled.any()
        assert torch.equal(both("explore", after).alive, world.alive)
    assert {Cause.NONE, Cause.LAVA} <= seen


def test_upkeep_of_ticks_beyond_31_and_32_bits(any_setting):
    for seed, world in worlds(any_setting):
        for now in ((1 << 31) - 2, (1 << 31) + 7, (1 << 32) - 1, (7 << 32) + 5):
            world.tick.fill_(now + seed)
            both("upkeep", world)


def test_explore(any_setting):
    """Footprints of any bits; also of tiles beyond the torus of 64."""
    new = 0
    for _, world in worlds(any_setting):
        after = both("explore", world)
        new += int((after.explored - world.explored).sum())
        assert torch.equal(both("explore", after).explored, after.explored)
    assert new > 0


def test_burial(any_setting):
    for seed, world in worlds(any_setting):
        causes = torch.randint(5, world.alive.shape, generator=torch.Generator().manual_seed(seed))
        world.cause.copy_(torch.where(world.alive, causes, 0))
        after = both("burial", world)
        assert int(world.alive.sum() - after.alive.sum()) == int((world.cause != 0).sum())


def observed(backend, world, fill):
    """(records, seen), written over garbage."""
    records = ObservationLayout(world.config).allocate(*world.alive.shape, device="cpu").fill_(fill)
    seen = torch.full((*world.alive.shape, world.config.nearest), fill * 99, dtype=torch.int32)
    backend.observe(world, records, seen)
    return records, seen


def test_observe(setting):
    """Over different garbage: what is not written would differ."""
    for _, world in worlds(setting):
        before = world.clone()
        ours, theirs = observed(TORCH, world, GARBAGE), observed(NUMBA, world, 0x55)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
        assert_same(world, before, "observing changed the world")


@pytest.fixture
def row_by_row(monkeypatch):
    """Agents look around row by row even on a small map."""
    monkeypatch.setattr(observation, "ROW_BY_ROW_FROM", 1)
    observation._compiled.cache_clear()
    yield
    observation._compiled.cache_clear()


def test_observe_row_by_row(setting, row_by_row):
    """As on a large map; what the slots of the dead hold does not matter."""
    for seed, world in worlds(setting):
        for field in (world.row, world.col):
            field[~world.alive] = GARBAGE * (seed + 1)
        ours, theirs = observed(TORCH, world, GARBAGE), observed(NUMBA, world, 0x55)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("vision", [1, 3, 4, 5, 15])
def test_observe_through_windows_of_any_size(vision):
    """Narrower than the eight tiles that a word holds, and wider than three of them."""
    nearest = min(20, (2 * vision + 1) ** 2 - 1)
    config = preset(
        "chaos", **{**ODD, "border": vision, "vision": vision}, slots=100, populations=5, births=0,
        reach=(1, 1, vision), nearest=nearest,
    )  # fmt: skip
    for seed in SEEDS:
        world = random_world(config, 3, seed, fill=0.9, full=seed % 2 == 0)  # on the ring it just fits
        ours, theirs = observed(TORCH, world, GARBAGE), observed(NUMBA, world, 0x55)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_draws_of_many_at_once():
    """``Backend.draw``: broadcast, strided and empty arguments, and whatever seed and tick."""
    realm, index = torch.arange(3)[:, None], torch.arange(101)[None]
    strided = torch.arange(404)[::4]
    for seed in (0, -7, (1 << 63) - 1):
        for now in (0, (1 << 32) - 1, 5 << 32):
            key = torch.tensor([seed, 0]), torch.tensor([now])
            for stream in Stream:
                for at in ((realm, index), (index, realm), (strided, strided), (realm[:0], index)):
                    ours, theirs = TORCH.draw(*key, stream, *at), NUMBA.draw(*key, stream, *at)
                    assert len(ours) == len(theirs) == 4
                    assert all(a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
                    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_whole_ticks_from_the_same_state_each(setting):
    """The state is transplanted, so that each tick starts from the same bits, and what differs is named."""
    for seed, world in worlds(setting):
        random = torch.Generator().manual_seed(seed)
        for time in range(8):
            step = random_orders(world, random)
            twin = world.clone()
            tick.step(world, TORCH, *step)
            tick.step(twin, NUMBA, *step)
            assert_same(twin, world, f"seed {seed}, tick {time}: numba, then torch")
            check_invariants(world, from_birth=False)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("chaos", {"realms": 3, "slots": 21, "populations": 7, "births": 3}),
        ("law", {"realms": 1, "slots": 7, "populations": 1, "births": 1}),
        ("chaos", {"realms": 1, "slots": 60, "populations": 2, "births": -1}),
    ],
)
def test_300_ticks_apart_stay_together(name, settings):
    """Two environments, each with its own backend, draw the same random actions and return the same."""
    world = step_together(300, name, "numba", **{**ODD, **settings, "seed": 2})
    assert int(world.next_entity.sum()) > 20


def test_backends_may_take_turns_on_one_world():
    """A world begun by one goes on under the other."""
    take_turns(preset("chaos", **ODD, slots=21, populations=7, births=3), 3, 20, "numba")
