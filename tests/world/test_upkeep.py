"""Upkeep: its seven steps and their order, and footprints."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD, assert_same, blank_maps, draw_world, orders, place, show

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.env import Env
from nmmo_gpu.world import tick
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause


def body(world, slot=0):
    """Returns (health, food, water, age) of an agent."""
    return tuple(int(getattr(world, name)[0, slot]) for name in ("health", "food", "water", "age"))


def one(ground=".", picture="0", **state):
    """Returns a world with one agent on a material, with the given state."""
    world = draw_world(picture, under={"0": ground})
    for name, value in state.items():
        getattr(world, name).fill_(value)
    return world


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_freeze_decreases_down_to_0(any_backend, before, after):
    world = one(freeze=before)
    any_backend.upkeep(world)
    assert world.freeze[0, 0] == after


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_chill_freezes_from_here_on(any_backend, before):
    """Freeze becomes 3 minus the 1 of this upkeep; chill is cleared, in empty slots too."""
    world = draw_world("0", slots=2, freeze_ticks=3)
    world.freeze.fill_(before)
    world.chilled.fill_(True)
    any_backend.upkeep(world)
    assert world.freeze[0].tolist() == [2, before]
    assert not world.chilled.any()


def test_lava_kills_before_anything_else_applies(any_backend):
    """An agent on lava neither eats, drinks, heals, hungers nor ages, but its freeze has decreased, which is
    step 1."""
    for health, food, water in ((10, 32, 32), (5, 20, 20), (1, 0, 0), (1, 1, 0)):
        world = one("^", "~0", health=health, food=food, water=water, freeze=2, age=20)
        any_backend.upkeep(world)
        assert body(world) == (health, food, water, 20)
        assert world.cause[0, 0] == Cause.LAVA and world.alive[0, 0]
        assert world.freeze[0, 0] == 1


def test_lava_is_the_current_material(any_backend):
    world = one(".", age=20)
    world.material[0, 8, 8] = int(Material.LAVA)
    any_backend.upkeep(world)
    assert world.cause[0, 0] == Cause.LAVA


@pytest.mark.parametrize(("before", "after"), [(0, 4), (1, 5), (20, 24), (27, 31), (28, 31), (32, 31)])
def test_forage_is_5_up_to_32_and_comes_before_hunger(any_backend, before, after):
    """At food 0 the meal comes first, and no health is lost."""
    world = one("f", food=before, water=10, health=7)
    any_backend.upkeep(world)
    assert body(world)[:3] == (7 + (before + 5 > 16 and 10 > 16), after, 9)
    assert show(world, "0") == ["0"] and world.material[0, 8, 8] == Material.SCRUB


@pytest.mark.parametrize("ground", [".", ","])
def test_other_materials_give_no_food_and_do_not_change(any_backend, ground):
    world = one(ground, food=20, water=10)
    before = world.material.clone()
    any_backend.upkeep(world)
    assert world.food[0, 0] == 19 and torch.equal(world.material, before)


def test_only_the_agents_tile_is_eaten(any_backend):
    picture = "fff\nf0f\nfff"
    world = one("f", picture, food=1)
    any_backend.upkeep(world)
    world.occupant.zero_()
    assert show(world, picture) == ["fff", "f,f", "fff"]


@pytest.mark.parametrize(
    "picture",
    [".~.\n.0.\n...", "...\n.0~\n...", "...\n.0.\n.~.", "...\n~0.\n...", ".~.\n~0~\n.~."],
)
def test_water_on_each_of_the_four_sides_is_drunk_once(any_backend, picture):
    for before, after in ((0, 4), (20, 24), (28, 31), (32, 31)):
        world = one(".", picture, water=before, food=10, health=7)
        any_backend.upkeep(world)
        assert body(world)[:3] == (7, 9, after)


@pytest.mark.parametrize("picture", ["~.~\n.0.\n~.~", "..~..\n.....\n~.0.~\n.....\n..~.."])
def test_water_at_a_corner_or_two_tiles_away_is_not_drunk(any_backend, picture):
    world = one(".", picture, water=20)
    any_backend.upkeep(world)
    assert world.water[0, 0] == 19


def test_the_base_material_decides_where_to_drink(any_backend):
    """Base water that is another material now can be drunk; other base material that is water now cannot."""
    world = one(".", "0~", water=20)
    world.material[0, 8, 9] = int(Material.STONE)
    any_backend.upkeep(world)
    assert world.water[0, 0] == 24
    world = one(".", "0#", water=20)
    world.material[0, 8, 9] = int(Material.WATER)
    any_backend.upkeep(world)
    assert world.water[0, 0] == 19


@pytest.mark.parametrize(
    ("food", "water", "gain"), [(17, 17, 1), (16, 17, 0), (17, 16, 0), (16, 16, 0), (32, 32, 1), (32, 0, -1)]
)
def test_health_recovers_while_both_are_above_16(any_backend, food, water, gain):
    """They are compared before hunger and thirst subtract 1: at 17 an agent still heals."""
    world = one(food=food, water=water, health=5)
    any_backend.upkeep(world)
    assert body(world) == (5 + gain, food - 1, max(0, water - 1), 21)


def test_health_stays_at_most_10(any_backend):
    world = one(food=32, water=32, health=10)
    any_backend.upkeep(world)
    assert world.health[0, 0] == 10


def test_a_meal_and_a_drink_of_this_tick_count_for_healing(any_backend):
    world = one("f", "0~", food=12, water=12, health=5)
    any_backend.upkeep(world)
    assert body(world)[:3] == (6, 16, 16)
    world = one("f", "0~", food=11, water=12, health=5)
    any_backend.upkeep(world)
    assert body(world)[:3] == (5, 15, 16)


@pytest.mark.parametrize(
    ("food", "water", "loss"), [(1, 9, 1), (9, 1, 1), (0, 9, 1), (9, 0, 1), (1, 1, 2), (0, 0, 2), (2, 2, 0)]
)
def test_each_of_the_two_that_is_0_costs_1_health(any_backend, food, water, loss):
    """Already in the upkeep in which it reaches 0; neither decreases below 0."""
    world = one(food=food, water=water, health=8)
    any_backend.upkeep(world)
    assert body(world) == (8 - loss, max(0, food - 1), max(0, water - 1), 21)
    assert world.cause[0, 0] == 0


@pytest.mark.parametrize(
    ("food", "water", "health", "cause"),
    [
        (1, 9, 1, Cause.HUNGER), (9, 1, 1, Cause.THIRST), (0, 0, 1, Cause.HUNGER), (0, 0, 2, Cause.HUNGER),
        (0, 9, 1, Cause.HUNGER), (9, 0, 1, Cause.THIRST), (1, 1, 2, Cause.HUNGER),
    ],
)  # fmt: skip
def test_hunger_and_thirst_kill(any_backend, food, water, health, cause):
    """An agent that lacks both died of hunger. Its age does not count the upkeep that kills it."""
    world = one(food=food, water=water, health=health, age=33)
    any_backend.upkeep(world)
    assert body(world) == (0, max(0, food - 1), max(0, water - 1), 33)
    assert world.cause[0, 0] == cause and world.alive[0, 0], "burial is a later phase"


@pytest.mark.parametrize("ground", ["f", "^"])
def test_killed_and_dead_agents_do_not_change(any_backend, ground):
    """Slot 0 was killed this tick, slot 1 is empty, and both are where they would eat, drink or burn."""
    world = draw_world("0~", slots=2, under={"0": ground})
    world.health[0] = torch.tensor([0, 5])
    world.row[0, 1], world.col[0, 1] = 8, 8
    world.cause[0, 0] = int(Cause.COMBAT)
    world.freeze.fill_(2)
    world.food.fill_(3)
    before = world.clone()
    any_backend.upkeep(world)
    assert_same(world, before)


def test_age_and_immunity(any_backend):
    """Agents are immune while their age is below 15, and the first upkeep is in the tick of birth."""
    world = one(age=0)
    assert bool(world.immune()[0, 0])
    for age in range(1, 18):
        any_backend.upkeep(world)
        assert world.age[0, 0] == age
        assert bool(world.immune()[0, 0]) == (age < 15)


# ---------------------------------------------------------------------------------------- the full game


def npc_and_agent(ground=".", **overrides):
    """Returns an agent next to a goblin on a material, both next to water."""
    world = draw_world("~~\n0.", "full", slots=1, npc_numbers=(0, 1, 0), under={"0": ground}, **overrides)
    world.material[0, 9, 9] = world.base[0, 9, 9] = world.material[0, 9, 8]
    place(world, 0, 1, 9, 9)
    return world


@pytest.mark.parametrize("ground", [".", "f", "^"])
def test_npcs_only_thaw_and_age(any_backend, ground):
    """They neither burn, eat, drink, heal nor hunger; the agent beside them does."""
    world = npc_and_agent(ground)
    for name, value in (("health", 3), ("food", 20), ("water", 20), ("freeze", 2), ("age", 7)):
        getattr(world, name).fill_(value)
    world.food[0, 1], world.water[0, 1] = 1, 0
    any_backend.upkeep(world)
    assert world.material[0, 9, 9] == world.base[0, 9, 9], "an NPC eats no forest"
    assert body(world, slot=1) == (3, 1, 0, 8)
    assert world.freeze[0].tolist() == [1, 1] and world.cause[0, 1] == 0
    assert world.cause[0, 0] == (Cause.LAVA if ground == "^" else 0)
    if ground == "f":
        assert body(world) == (4, 24, 24, 8)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_chill_freezes_npcs_too(any_backend, before):
    world = npc_and_agent(freeze_ticks=3)
    world.freeze.fill_(before)
    world.chilled[0] = torch.tensor([False, True])
    any_backend.upkeep(world)
    assert world.freeze[0].tolist() == [max(0, before - 1), 2] and not world.chilled.any()


def test_a_killed_npc_does_not_change(any_backend):
    world = npc_and_agent()
    world.health[0, 1], world.cause[0, 1], world.freeze[0, 1] = 0, int(Cause.COMBAT), 2
    row = [
        tensor[0, 1].clone()
        for name, tensor in world.tensors()
        if name in ("health", "freeze", "age", "cause")
    ]
    any_backend.upkeep(world)
    after = [tensor[0, 1] for name, tensor in world.tensors() if name in ("health", "freeze", "age", "cause")]
    assert row == after


def test_npcs_leave_no_footprints(any_backend):
    """Only agents do; without one, no tile is marked."""
    world = npc_and_agent()
    world.row[0, 0], world.col[0, 0] = 12, 13
    any_backend.explore(world)
    assert world.explored.tolist() == [[1]]
    assert world.visited[0, 0].nonzero().flatten().tolist() == [12] and world.visited[0, 0, 12] == 1 << 13


@pytest.mark.parametrize(("level", "health"), [(10, 10), (11, 10), (99, 98), (99, 99), (1, 1), (30, 3)])
def test_health_recovers_up_to_the_constitution_level(any_backend, level, health):
    """Whatever max_health is."""
    world = draw_world("0", "full", npcs=False, max_health=20)
    world.level[0, 0, 4], world.health[0, 0] = level, health
    any_backend.upkeep(world)
    assert world.health[0, 0] == min(level, health + 1)


def test_without_skills_health_recovers_up_to_max_health(any_backend):
    world = draw_world("0", "full", npcs=False, skills=False, max_health=20)
    world.level[0, 0, 4] = 99
    for health in (19, 20):
        world.health[0, 0] = health
        any_backend.upkeep(world)
        assert world.health[0, 0] == 20


@pytest.mark.parametrize("preset_name", ["law", "chaos", "full"])
def test_idle_on_bare_grass_dies_in_its_36th_upkeep_with_a_lifetime_of_35(backend, preset_name):
    config = preset(preset_name, **ODD, slots=1, populations=1, births=1, npc_numbers=(0, 0, 0))
    world = empty_world(config, blank_maps(config, 1), 3)
    for upkeep in range(1, 37):
        assert world.cause[0, 0] == 0
        tick.step(world, backend, *orders(world))
        assert world.next_entity[0] == 1
        assert bool(world.alive[0, 0]) == (upkeep < 36)
    assert world.cause[0, 0] == Cause.HUNGER and world.age[0, 0] == 35 and world.acted[0] == 35
    assert world.food[0, 0] == 0 and world.water[0, 0] == 0
    assert world.deaths[0].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("preset_name", ["law", "chaos"])
def test_idle_through_the_environment_terminates_at_the_35th_step(backend, preset_name):
    """The agent acted 35 times; it survived each of these ticks but the last, and earned 1 for each."""
    config = preset(preset_name, **ODD, slots=1, populations=1, births=1)
    world = empty_world(config, blank_maps(config, 1), 3)
    tick.step(world, backend, *orders(world))  # as in reset(): birth and first upkeep
    env = Env(EnvConfig(world=config, realms=1, device="cpu", backend=backend.name), world)
    paid = 0.0
    for step in range(1, 36):
        _, reward, terminated, truncated, info = env.step(torch.zeros(1, 1, 3, dtype=torch.int64))
        paid += float(reward)
        assert bool(terminated) == (step == 35) and not truncated.any()
        assert int(info["cause"]) == (Cause.HUNGER if step == 35 else 0)
    assert paid == 34.0
    assert int(info["lifetime"]) == 35 and int(info["entity"]) == 0 and int(info["explored"]) == 1
    _, reward, terminated, _, info = env.step(torch.zeros(1, 1, 3, dtype=torch.int64))
    assert float(reward) == 0.0 and not terminated.any(), "no agent acted"
    assert int(info["entity"]) == 1 and int(info["cause"]) == 0 and int(info["lifetime"]) == 1


def test_explored_counts_different_tiles(any_backend):
    """After moving away and back, the way back counts nothing."""
    world = draw_world("....0", slots=2, fill=".")
    counts = []
    for direction in ("west", "west", "west", "east", "east", "stay", "south", "north"):
        tick.step(world, any_backend, *orders(world, move={0: direction}))
        counts.append(int(world.explored[0, 0]))
    assert counts == [1, 2, 3, 3, 3, 3, 4, 4]
    assert world.explored[0, 1] == 0


def test_footprints_use_bit_63_and_wrap_on_a_torus_of_64(any_backend):
    """Column 63 is a word's sign bit; a tile 64 away shares a bit, which is the documented undercount."""
    config = preset("law", height=80, width=140, border=7, vision=7, slots=1, populations=1, births=0)
    world = empty_world(config, blank_maps(config, 1), 1)
    world.alive.fill_(True)
    places = [
        (63, 63), (63, 63), (63, 62), (62, 63), (10, 63), (10, 64), (10, 63), (10, 127), (10, 128), (74, 20),
        (10, 20),
    ]  # fmt: skip
    expected = [1, 1, 2, 3, 4, 5, 5, 5, 5, 6, 6]
    counts = []
    for row, col in places:
        world.row.fill_(row)
        world.col.fill_(col)
        any_backend.explore(world)
        counts.append(int(world.explored))
    assert counts == expected
    world.alive.fill_(False)
    world.row.fill_(30)
    any_backend.explore(world)
    assert int(world.explored) == 6
