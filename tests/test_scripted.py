"""Scripted policies: they find resources, hunt the right targets, and outlive random agents."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from support.helpers import GARBAGE, ODD, draw_world, where

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import WORKS
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.scripted import POLICIES, SEARCH_RADII, _bits, _steps, actor, forager, hunter
from nmmo_gpu.train.evaluate import evaluate
from nmmo_gpu.world.movement import MOVES

STAY, EAST, SOUTH, WEST, NORTH = range(5)
MELEE, RANGE, MAGE = range(3)
CROWD = {**ODD, "slots": 14, "populations": 7, "births": -1, "realms": 2, "device": "cpu", "backend": "torch"}
NPCS = {"npc_numbers": (6, 5, 3)}


def of(world):
    """Returns an environment that continues a world drawn by hand."""
    return Env(EnvConfig(world=world.config, realms=1, device="cpu", backend="torch"), world)


def walk(env, policy, ticks, slot=0):
    """Returns an agent's positions within the picture, the first one included."""
    path = [where(env.world, slot)]
    for _ in range(ticks):
        env.step(policy(env))
        path.append(where(env.world, slot))
    return path


# --------------------------------------------------------------------------------------------------- foraging


def test_it_takes_the_shortest_path_around_walls_and_lava():
    """Ten steps around the wall, four around the lava; the forest is eaten on arrival."""
    for picture, steps, at in (
        ("#######\n#0#f..#\n#.###.#\n#.....#\n#######", 10, (1, 3)),
        ("#####\n#0^f#\n#...#\n#####", 4, (1, 3)),
    ):
        world = draw_world(picture)
        world.food[:] = 16
        path = walk(of(world), forager, steps)
        assert path[-1] == at and at not in path[:-1], path
        assert world.alive.all() and int(world.food) == 16 - steps + 5


@pytest.mark.parametrize(
    ("food", "water", "move"),
    [(10, 20, WEST), (20, 10, EAST), (12, 12, WEST), (32, 30, EAST), (25, 32, WEST)],
)
def test_it_seeks_what_will_run_out_first(food, water, move):
    """Forest is three steps away and the shore two; an agent with enough food goes to drink."""
    world = draw_world("#########\n#f..0..~#\n#########")
    world.food[:], world.water[:] = food, water
    assert int(forager(of(world))[0, 0, 0]) == move


def test_it_stays_at_the_shore_and_leaves_the_forest_until_it_is_hungry():
    """It eats when five of its food are used up."""
    world = draw_world("######\n#f0.~#\n######")
    path = walk(of(world), forager, 10)
    eaten = path.index((1, 1))
    assert path[1:eaten] == [(1, 3)] * (eaten - 2) + [(1, 2)] and eaten == 5 + 2
    assert path[eaten + 1 :] == [(1, 2), (1, 3), (1, 3)]


def test_it_walks_straight_ahead_where_there_is_nothing():
    """Through a hall that is longer than its vision, until it sees the end, and back."""
    hall = "\n".join(["#" * 21, "#0" + "." * 18 + "#", "#" * 21])
    path = walk(of(draw_world(hall)), forager, 18)
    assert [col for _, col in path] == [*range(1, 14), *range(12, 6, -1)]


def test_it_prefers_paths_with_few_turns():
    """Of many shortest paths across a field it takes one with a single turn."""
    field = "\n".join(
        ["#" * 8, "#0" + "." * 5 + "#", *["#" + "." * 6 + "#"] * 4, "#" + "." * 5 + "f#", "#" * 8]
    )
    for seed in range(4):
        world = draw_world(field, seed=seed)
        world.food[:] = 12
        path = walk(of(world), forager, 10)
        assert path[-1] == (6, 6)
        corners = [(1, 6), (6, 1)]
        assert sum(corner in path for corner in corners) == 1, path


def test_distances_match_a_breadth_first_search():
    """On random windows up to the largest, whose rows use all bits but the sign."""
    random = torch.Generator().manual_seed(1)
    for vision in (1, 2, 7, 15):
        window = 2 * vision + 1
        free = torch.rand(5, window, window, generator=random) < 0.65
        goal = (torch.rand(2, 5, window, window, generator=random) < 2 / window**2) & free
        found = _steps(_bits(goal), _bits(free), vision)
        for kind in range(2):
            for agent in range(5):
                distance = search(free[agent], goal[kind, agent])
                expected = [
                    min(distance.get((vision + r, vision + c), 999), SEARCH_RADII * vision) for r, c in MOVES
                ]
                assert found[kind, agent].tolist() == expected


def search(free, goal):
    """Returns the number of steps to the nearest goal from each cell, by breadth-first search."""
    distance = {tuple(cell): 0 for cell in goal.nonzero().tolist()}
    queue = deque(distance)
    while queue:
        row, col = queue.popleft()
        for r, c in MOVES[1:]:
            cell = row + r, col + c
            if min(cell) >= 0 and max(cell) < len(free) and free[cell] and cell not in distance:
                distance[cell] = distance[row, col] + 1
                queue.append(cell)
    return distance


def works(inventory=(), **body):
    """Returns the work of a forager beside water with these items."""
    world = draw_world("####\n#0~#\n####", "full", npc_numbers=(0, 0, 0))
    items = [item.name for item in world.config.content.items]
    for item in inventory:
        world.inventory[0, 0, items.index(item)] = 1
    for name, value in body.items():
        getattr(world, name)[:] = value
    env = of(world)
    return WORKS[int(forager(env)[0, 0, list(env.action_heads).index("work")])]


def test_it_fishes_cooks_and_eats():
    """It eats when hungry or hurt, else cooks what it can, else fishes."""
    assert works() == "fish"
    assert works(["raw shrimp", "cooked shrimp"]) == "cook"
    assert works(["raw shrimp", "cooked shrimp"], food=20) == "eat"
    assert works(["cooked shrimp"], health=8) == "eat"
    assert works(["cooked shrimp"], health=9) == "fish"
    assert works(["raw sardine"], food=20) == "fish", "cooking it needs a higher level"


# ---------------------------------------------------------------------------------------------------- hunting


def choice(picture, preset_name="chaos", setup=lambda world: None, **settings):
    """Returns (move, style, target) of a hunter in slot 0."""
    slots = 1 + max(int(sign) for sign in picture if sign.isdigit())
    world = draw_world(picture, preset_name, **{"populations": slots, **settings})
    setup(world)
    return tuple(hunter(of(world))[0, 0, :3].tolist())


def test_it_approaches_the_weakest_and_attacks_the_weakest_in_reach():
    """With the most harmful of the styles that reach it, whatever else it is doing."""
    hall = "#########\n#0.1..2.#\n#.......#\n#########"
    assert choice(hall)[1:] == (RANGE, 1)
    far = choice(hall, setup=lambda world: world.health[0, 2].fill_(3))
    assert far[0] in (EAST, SOUTH) and far[1:] == (RANGE, 1), "the weakest is too far to attack"
    near = "#####\n#01.#\n#..2#\n#####"
    assert choice(near) == (STAY, MELEE, 1)
    weak = lambda world: world.health[0, 2].fill_(3)  # noqa: E731
    assert choice(near, setup=weak) == (SOUTH, RANGE, 2)
    assert choice("#######\n#0..1.#\n#######") == (EAST, MAGE, 1)
    assert choice("########\n#0...1.#\n########") == (EAST, MELEE, 0)


def test_a_hunter_in_need_forages_and_attacks_on_the_way():
    """With the forest two steps away, ten ticks of food are enough to hunt, and nine are not."""
    for food, move in ((10, EAST), (9, WEST)):
        hungry = lambda world, food=food: (world.food[0, 0].fill_(food), world.water[0, 0].fill_(28))  # noqa: E731
        picture = "##########\n#f.0.1...#\n#.~......#\n##########"
        assert choice(picture, setup=hungry) == (move, RANGE, 1)


def test_friends_and_strong_npcs_are_not_attacked():
    """Goblins and bears have more health than a newborn; a chicken is attacked from a distance."""
    assert choice("#####\n#01.#\n#####", populations=1)[2] == 0
    npcs = {"slots": 1, "populations": 1, "npc_numbers": (1, 1, 1), "age": 20}
    hall = "#######\n#0..{}..#\n#######"
    assert choice(hall.format(2), "full", **npcs)[2] == choice(hall.format(3), "full", **npcs)[2] == 0
    assert choice(hall.format(1), "full", **npcs) == (STAY, MAGE, 1)


def test_where_attacks_do_no_damage_a_hunter_forages():
    """As in law."""
    env = make("law", **CROWD)
    env.reset()
    for _ in range(25):
        actions = hunter(env)
        assert torch.equal(actions, forager(env))
        env.step(actions)


def test_hunters_kill_foragers():
    """Of two populations, foragers die in combat, and hunters never do."""
    env = make("chaos", **{**CROWD, "populations": 2})
    env.reset()
    killed = torch.zeros(14, dtype=torch.int64)
    for _ in range(150):
        actions = torch.cat([hunter(env)[:, :7], forager(env)[:, 7:]], 1)
        *_, info = env.step(actions)
        killed += (info["cause"] == 4).sum(0)
    assert killed[:7].sum() == 0 and killed[7:].sum() > 20


# ----------------------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("policy", [forager, hunter])
@pytest.mark.parametrize("name", ["chaos", "full"])
def test_choices_are_possible_and_depend_on_observations_only(policy, name):
    """Masks allow them, and empty slots do nothing. They do not change if all of the world but its clock and
    seed is cleared, whatever the state of torch's generator is."""
    env = make(name, **{**CROWD, "births": 3, **(NPCS if name == "full" else {})})
    obs = env.reset()
    fought = worked = 0
    for tick in range(60):
        torch.manual_seed(tick)
        state = torch.get_rng_state()
        actions = policy(env)
        assert torch.equal(torch.get_rng_state(), state)
        assert actions.dtype == torch.int64 and actions.shape == (2, 14, len(env.action_heads))
        assert not actions[~obs["alive"]].any()
        alive = actions[obs["alive"]]
        seen = {key: field[obs["alive"]] for key, field in obs.items()}
        line = torch.arange(len(alive))
        move, style, target = alive[:, :3].unbind(1)
        assert seen["move_mask"][line, move].all() and seen["target_mask"][line, style, target].all()
        if "work" in env.action_heads:
            assert seen["work_mask"][line, alive[:, 3]].all() and not alive[:, 4:].any()
            worked += int((alive[:, 3] > 0).sum())
        fought += int((target > 0).sum())

        kept = {key: field.clone() for key, field in env.world.tensors()}
        for key, field in env.world.tensors():
            if key not in ("tick", "seed"):
                field.fill_(GARBAGE % 127)
        assert torch.equal(policy(env), actions)
        for key, field in env.world.tensors():
            field.copy_(kept[key])
        obs, *_ = env.step(actions)
    assert (fought > 0) == (policy is hunter) and (worked > 0) == (name == "full")


def test_a_world_without_agents():
    """No policy chooses anything."""
    env = make("full", **{**CROWD, **NPCS, "births": 0})
    env.reset()
    for policy in (forager, hunter):
        assert not policy(env).any()


# -------------------------------------------------------------------------------------------------- lifetimes


@pytest.fixture(scope="module", params=["chaos", "full"])
def lifetimes(request):
    """Returns mean lifetimes by policy with one birth a tick, as in v1."""
    world_config = {**ODD, "height": 47, "width": 48, "slots": 16, "populations": 4}
    world = preset(request.param, **world_config, **(NPCS if request.param == "full" else {}))
    config = EnvConfig(world=world, realms=2, seed=5, device="cpu", backend="auto")
    return {name: evaluate(config, actor(name), max_ticks=250, warmup=50).lifetime for name in POLICIES}


def test_they_outlive_random_agents(lifetimes):
    """Foragers by far, and idle agents, which live 35 ticks, too; hunters although they kill each other."""
    assert lifetimes["random"] < 14
    assert lifetimes["hunter"] > 1.4 * lifetimes["random"]
    assert lifetimes["forager"] > 60


def test_policies_by_name():
    """Each name gives the policy that evaluate takes; other names are refused."""
    assert [actor(name)(None) for name in POLICIES] == [random_actions, forager, hunter]
    with pytest.raises(ConfigError, match="'gatherer' is not a scripted policy; .* random, forager"):
        actor("gatherer")
