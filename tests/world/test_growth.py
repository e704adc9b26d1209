"""Growth: levels from experience, and the gear that is worn."""

from __future__ import annotations

import pytest
import torch
from support.goods import draw_workers, give, happened, set_level
from support.helpers import assert_same, draw_world, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World

MELEE, RANGE, DEFENSE = (SKILLS.index(name) for name in ("melee", "range", "defense"))


def needed() -> list[int]:
    """Returns the experience for levels 1 to 99, from RULES.md."""
    exp = [0]
    for i in range(1, 99):
        exp.append(exp[-1] + int(int(i + 300 * 2 ** (i / 7)) / 4))
    return exp


def experienced(world: World, slot: int, **experience: int) -> World:
    for skill, amount in experience.items():
        world.xp[:, slot, SKILLS.index(skill)] = amount
    return world


def test_a_level_needs_exactly_its_experience(any_backend):
    """All 99 levels, one point below and just reached."""
    exp = needed()
    for offset in (-1, 0, 1):
        world = draw_workers("0123456789A")
        grid = torch.tensor([*exp, exp[-1]]) + offset
        world.xp[0] = grid[: 11 * 9].view(11, 9).int().clamp(min=0)
        world.level[0] = 1
        any_backend.growth(world)
        expected = torch.arange(1, 100) - (1 if offset < 0 else 0)
        assert torch.equal(world.level[0].view(-1).long(), expected.clamp(min=1))
        rises = expected.clamp(min=1).view(11, 9) - 1
        assert torch.equal(world.events[0, :, Event.LEVELS].long(), rises.sum(1))


def test_experience_stops_at_a_thousand_million_and_levels_at_99(any_backend):
    world = draw_workers("01")
    experienced(world, 0, melee=1_000_000_000, mage=1_000_000_001, mining=2_000_000_000, fishing=999_999_999)
    any_backend.growth(world)
    assert world.xp[0, 0].tolist() == [
        1_000_000_000, 0, 1_000_000_000, 0, int(world.xp[0, 1, 4]), 999_999_999, 1_000_000_000, 0, 0,
    ]  # fmt: skip
    assert world.level[0, 0, :3].tolist() == [99, 1, 99]


def test_risen_levels_of_all_skills_are_counted_once(any_backend):
    world = draw_workers("01")
    exp = needed()
    for name in ("constitution",):
        experienced(world, 0, **{name: exp[9]})
        experienced(world, 1, **{name: exp[9]})
    experienced(world, 0, melee=exp[4], cooking=exp[2] + 1)
    any_backend.growth(world)
    assert happened(world, 0) == {"levels": 4 + 2} and happened(world, 1) == {}
    any_backend.growth(world)
    assert happened(world, 0) == {"levels": 6}


def test_levels_above_experience_are_lowered_and_not_counted(any_backend):
    """Wherever they come from; a risen level of another skill counts in full."""
    world = set_level(draw_workers("01"), 0, melee=50, mage=99, range=98)
    experienced(world, 0, melee=needed()[7], cooking=needed()[3])
    any_backend.growth(world)
    assert world.level[0, 0].tolist() == [8, 1, 1, 1, 10, 1, 1, 4, 1]
    assert happened(world, 0) == {"levels": 3}


def test_dead_agents_and_npcs_do_not_grow(any_backend):
    """Empty slots keep what they hold, garbage or not; NPCs keep the levels of their kind."""
    world = draw_world("01234", "full", slots=2, npc_numbers=(1, 1, 1))
    world.alive[0, 0] = False
    world.xp[0, 0] = 2_000_000_000
    world.level[0, 0] = 250
    world.worn[0, 0] = 77
    give(world, 0, copper_sword=1)
    before = world.clone()
    any_backend.growth(world)
    assert_same(world, before)


def test_without_skills_levels_are_constant_and_gear_is_worn(any_backend):
    world = give(draw_workers("0", skills=False), 0, copper_sword=1, tin_armor=1)
    experienced(world, 0, melee=5_000_000_000 % 1_500_000_000)
    xp, level = world.xp.clone(), world.level.clone()
    any_backend.growth(world)
    assert torch.equal(world.xp, xp) and torch.equal(world.level, level)
    assert world.worn[0, 0].tolist() == [1, 0, 0] and happened(world) == {}


@pytest.mark.parametrize(
    ("levels", "goods", "worn"),
    [
        ({}, {}, [0, 0, 0]),
        ({}, {"copper_sword": 1, "copper_knife": 3, "copper_armor": 1}, [1, 1, 1]),
        ({}, {"tin_sword": 1, "iron_knife": 3, "tin_armor": 1}, [0, 0, 0]),
        ({"melee": 5}, {"copper_sword": 1, "tin_sword": 2, "iron_sword": 1, "tin_knife": 1}, [2, 0, 0]),
        ({"melee": 4}, {"copper_sword": 1, "tin_sword": 2, "iron_sword": 1}, [1, 0, 0]),
        ({"range": 10}, {"iron_knife": 1, "copper_knife": 50, "iron_sword": 1}, [0, 3, 0]),
        ({"range": 10}, {"copper_knife": 50}, [0, 1, 0]),
        ({"defense": 9}, {"iron_armor": 1, "tin_armor": 1}, [0, 0, 2]),
        ({"defense": 99, "melee": 99, "range": 99}, {"iron_armor": 2, "iron_sword": 1}, [3, 0, 3]),
        ({"mage": 99, "smithing": 99}, {"iron_sword": 1, "iron_knife": 1, "iron_armor": 1}, [0, 0, 0]),
    ],
)
def test_the_best_usable_gear_is_worn(any_backend, levels, goods, worn):
    """Whatever was worn before; each kind of gear needs its own skill."""
    world = give(draw_workers("0.1", skills=False), 1, **goods)
    set_level(world, 1, **levels)
    world.worn[0, 1] = torch.tensor([3, 0, 1])
    any_backend.growth(world)
    assert world.worn[0].tolist() == [[0, 0, 0], worn]


def test_a_level_just_reached_counts_for_what_is_worn(any_backend):
    world = give(draw_workers("0"), 0, tin_sword=1)
    experienced(world, 0, melee=needed()[4])
    any_backend.growth(world)
    assert world.level[0, 0, MELEE] == 5 and world.worn[0, 0, 0] == 2


def test_growth_is_idempotent(backend):
    """Random worlds are already grown, so nothing changes, however often it runs."""
    config = preset("full", height=33, width=47, border=7, slots=49, populations=7, npc_numbers=(2, 2, 2))
    for seed in range(4):
        world = random_world(config, 3, seed, fill=0.8)
        before = world.clone()
        backend.growth(world)
        assert_same(world, before)
