"""Rewards: what agents earn beyond life and death."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from support.helpers import ODD, draw_world, random_world
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig, preset
from nmmo_gpu.content import STANDARD
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.rewards import Rewards
from nmmo_gpu.world.state import World

REWARDS = {field.name for field in dataclasses.fields(EnvConfig) if field.name.startswith("reward_")}


def small(realms: int = 2, preset_name: str = "full", **settings: object) -> World:
    """Returns a world with five agents; in the full game with two NPC slots of each kind."""
    npcs = {"npc_numbers": (2, 2, 2)} if preset_name == "full" else {}
    return draw_world("0.1.2.3.4", preset_name, realms=realms, populations=5, **npcs, **settings)


def reward_terms(world: World, **pay: float) -> Rewards:
    return Rewards(EnvConfig(world=world.config, realms=world.realms, **pay), world)


def environment(config: WorldConfig, realms: int, world: World | None, **pay: object) -> Env:
    return Env(EnvConfig(world=config, realms=realms, device="cpu", backend="torch", **pay), world)


def paid(
    rewards: Rewards, world: World, acting: Tensor | None = None, died: Tensor | None = None
) -> list[float]:
    """Returns what realm 1's agents get on top of a reward of 100; all acted and none died by default."""
    all_slots = torch.ones(world.realms, world.config.slots, dtype=torch.bool)
    reward = torch.full(all_slots.shape, 100.0)
    world.agents(world.cause).copy_(~all_slots if died is None else died)
    rewards.add(world, all_slots if acting is None else acting, reward)
    return (reward[1] - 100.0).tolist()


# --------------------------------------------------------------------------------------------- single weights


def gain(world: World, field: str, column: int | None, amounts: list[int]) -> None:
    """Adds to a field of realm 1's agents."""
    plane = getattr(world, field)[1] if column is None else getattr(world, field)[1, :, column]
    plane += torch.tensor(amounts).to(plane.dtype)


@pytest.mark.parametrize(
    ("pay", "field", "columns"),
    [
        ("reward_experience", "xp", range(9)), ("reward_level", "events", [Event.LEVELS]),
        ("reward_gold", "gold", [None]),
        ("reward_kill", "events", [Event.AGENTS_KILLED, len(Event), len(Event) + 1, len(Event) + 2]),
        ("reward_trade", "events", [Event.SOLD, Event.BOUGHT]), ("reward_tile", "explored", [None]),
    ],
)  # fmt: skip
def test_each_weight_pays_for_increases_since_the_last_call(pay, field, columns):
    """All its columns are added up, and nothing is paid for other columns or twice; a negative weight
    subtracts."""
    world = small()
    getattr(world, field).fill_(50)
    wage = reward_terms(world, **{pay: -0.5})
    for column in columns:
        gain(world, field, column, [0, 1, 2, 30, 4])
    expected = [-0.5 * len(columns) * n for n in (0, 1, 2, 30, 4)]
    assert paid(wage, world) == expected
    assert paid(wage, world) == [0.0] * 5, "paid twice"
    gain(world, field, columns[0], [3, 0, 0, 0, 0])
    assert paid(wage, world) == [-1.5, 0.0, 0.0, 0.0, 0.0]
    for other, tensor in world.tensors():
        if tensor.shape[:2] == (2, 5) and other not in (field, "events"):
            tensor.copy_(torch.randint(0, 2, tensor.shape))
    for event in set(Event) - set(columns):
        world.events[..., event] += 1
    assert paid(wage, world) == [0.0] * 5, "paid for another column"


def test_spent_gold_is_subtracted():
    world = small()
    wage = reward_terms(world, reward_gold=0.25)
    world.gold[1] = torch.tensor([10, 2, 0, 14, 1000])  # each had 10
    assert paid(wage, world) == [0.0, -2.0, -2.5, 1.0, 247.5]


def test_weights_add_up():
    world = small()
    wage = reward_terms(world, reward_gold=1.0, reward_tile=0.5, reward_trade=-2.0)
    world.gold[1, 2] += 3
    world.explored[1, 2] += 1
    world.events[1, 2, Event.SOLD] += 1
    world.events[1, 3, Event.BOUGHT] += 1
    assert paid(wage, world) == [0.0, 0.0, 1.5, -2.0, 0.0]


def test_without_weights_nothing_is_paid_or_computed():
    world = small()
    wage = reward_terms(world)
    world.xp += 1
    assert paid(wage, world) == [0.0] * 5 and wage.kept == {}


# ------------------------------------------------------------------------------------------------ who is paid


def test_newborns_are_not_paid_for_what_they_are_born_with():
    """An agent that did not act is not paid, whatever its slot holds; later increases count from there."""
    world = small()
    wage = reward_terms(world, reward_experience=1.0, reward_gold=1.0, reward_tile=1.0, reward_level=1.0)
    acting = torch.ones(2, 5, dtype=torch.bool)
    acting[1, 3] = False
    for field in ("xp", "gold", "explored"):
        gain(world, field, 0 if field == "xp" else None, [1, 0, 0, 500, 0])
    assert paid(wage, world, acting) == [3.0, 0.0, 0.0, 0.0, 0.0]
    gain(world, "gold", None, [0, 0, 0, 2, 0])
    assert paid(wage, world) == [0.0, 0.0, 0.0, 2.0, 0.0]


def test_dead_agents_are_paid_for_their_last_tick_except_for_lost_gold():
    world = small()
    wage = reward_terms(
        world, reward_experience=1.0, reward_gold=1.0, reward_kill=10.0, reward_trade=0.5, reward_death=-7.0
    )
    died = torch.zeros(2, 5, dtype=torch.bool)
    died[1, 0] = died[0, 4] = True
    world.gold[1, 0] = 0
    world.gold[1, 1] += 10  # the killer
    gain(world, "xp", 3, [4, 0, 0, 0, 0])
    gain(world, "events", Event.AGENTS_KILLED, [1, 1, 0, 0, 0])
    gain(world, "events", Event.SOLD, [1, 0, 0, 0, 0])
    assert paid(wage, world, died=died) == [4 + 10 + 0.5 - 7, 10 + 10, 0.0, 0.0, 0.0]


def test_a_refilled_slot_pays_nothing_for_the_change():
    """The dead agent had much; the newborn has little, and then gains 2."""
    world = small()
    world.xp[1, 2], world.gold[1, 2], world.explored[1, 2] = 1000, 1000, 1000
    wage = reward_terms(world, reward_experience=1.0, reward_gold=1.0, reward_tile=1.0, reward_death=-1.0)
    someone_else = torch.ones(2, 5, dtype=torch.bool)
    someone_else[1, 2] = False
    world.gold[1, 2] = 0
    assert paid(wage, world, died=~someone_else) == [0.0, 0.0, -1.0, 0.0, 0.0]
    world.xp[1, 2], world.gold[1, 2], world.explored[1, 2] = 5, 10, 1
    assert paid(wage, world, someone_else) == [0.0] * 5
    world.gold[1, 2] += 2
    assert paid(wage, world) == [0.0, 0.0, 2.0, 0.0, 0.0]


# ------------------------------------------------------------------------------------ through the environment


class Life(NamedTuple):
    """What an agent has done and has, read one number at a time."""

    experience: int
    level: int
    gold: int
    kill: int
    trade: int
    tile: int


def lives(world: World) -> dict[tuple[int, int], tuple[int, Life]]:
    """Returns (realm, id) -> (slot, life so far) of each agent that a slot still records."""
    found = {}
    for realm in range(world.realms):
        for slot in range(world.config.slots):
            events = world.events[realm, slot].tolist()
            life = Life(
                sum(world.xp[realm, slot].tolist()), events[Event.LEVELS], int(world.gold[realm, slot]),
                events[Event.AGENTS_KILLED] + sum(events[len(Event) :]),
                events[Event.SOLD] + events[Event.BOUGHT], int(world.explored[realm, slot]),
            )  # fmt: skip
            found[realm, int(world.entity[realm, slot])] = slot, life
    return found


@pytest.mark.parametrize("reward", ["alive", "death"])
def test_every_agent_is_paid_for_its_own_life(reward):
    """Agents are followed by id in an environment in which slots are refilled often. All weights are on, and
    they are powers of two, so that sums are exact."""
    weight = {"experience": 0.5, "level": 4.0, "gold": 0.25, "kill": 32.0, "trade": -8.0, "tile": 0.125}
    pay = {f"reward_{name}": value for name, value in weight.items()} | {"reward_death": -64.0}
    assert set(pay) == REWARDS
    # With this much experience per recipe, agents gain levels in a short life.
    recipes = tuple(dataclasses.replace(recipe, experience=500) for recipe in STANDARD.recipes)
    school = dataclasses.replace(STANDARD, recipes=recipes)
    config = preset(
        "full", **ODD, slots=21, populations=7, npc_numbers=(5, 4, 2), births=3, immune_ticks=2,
        offer_ticks=5, spawn="anywhere", reach=(7, 7, 7), content=school,
    )  # fmt: skip
    env = environment(config, 2, random_world(config, 2, 3), reward=reward, **pay)
    random = torch.Generator().manual_seed(2)
    limits = torch.tensor(env.action_sizes)
    gains, deaths, births = Life(0, 0, 0, 0, 0, 0), 0, 0
    for _ in range(50):
        actions = (torch.rand(2, 21, len(limits), generator=random) * limits).long()
        limited = torch.rand(2, 21, generator=random) < 0.5  # sell and buy few items, so that offers match
        actions[..., 4] = torch.where(limited, 1 + 22 * (actions[..., 4] % 2), actions[..., 4])
        before, alive = lives(env.world), env.world.agents(env.world.alive).tolist()
        _, got, terminated, _, _ = env.step(actions)
        due = torch.zeros(2, 21)
        for (realm, entity), (slot, after) in lives(env.world).items():
            births += (realm, entity) not in before
            if (realm, entity) not in before or not alive[realm][slot]:
                continue
            dead = bool(terminated[realm, slot])
            deaths += dead
            gained = Life(*(now - then for now, then in zip(after, before[realm, entity][1], strict=True)))
            if dead:
                gained = gained._replace(gold=0)
            gains = Life(*(all_of + abs(one) for all_of, one in zip(gains, gained, strict=True)))
            due[realm, slot] = (-float(dead) if reward == "death" else float(not dead)) - 64.0 * dead
            due[realm, slot] += sum(weight[name] * n for name, n in gained._asdict().items())
        assert torch.equal(got, due)
    assert min(gains) > 0 and deaths > 20 and births > 20, "too little happened"


def test_reset_pays_nothing_for_being_born():
    """Reset is a tick: newborns have gold and experience, and step 1 does not pay for them."""
    config = preset("full", **ODD, slots=7, populations=7, births=-1, spawn="anywhere", npc_numbers=(0, 0, 0))
    pay = {"reward_gold": 1.0, "reward_experience": 1.0, "reward_tile": 1.0}
    env = environment(config, 3, None, **pay)
    env.reset()
    acting = env.world.alive.clone()
    assert acting.sum() > 10 and env.world.xp.any() and env.world.gold.any()
    _, reward, *_ = env.step(torch.zeros(3, 7, len(env.action_heads), dtype=torch.int64))
    assert torch.equal(reward, acting.float())


# -------------------------------------------------------------------------------------------- invalid weights


@pytest.mark.parametrize(
    ("preset_name", "settings", "wrong"),
    [
        ("chaos", {}, {"reward_experience", "reward_level", "reward_gold", "reward_kill", "reward_trade"}),
        ("law", {"tokens": 4}, {"reward_experience", "reward_level", "reward_trade"}),
        ("full", {"skills": False}, {"reward_experience", "reward_level"}),
        ("full", {"exchange": False}, {"reward_trade"}),
        ("full", {}, set()),
    ],
)  # fmt: skip
def test_a_weight_on_events_that_the_rules_lack_is_refused(preset_name, settings, wrong):
    """By name and value; rewards for death and new tiles are always possible."""
    world = small(preset_name=preset_name, **settings)
    for name in sorted(REWARDS):
        if name in wrong:
            with pytest.raises(
                ConfigError, match=rf"{name} = 0\.5 rewards events that these rules do not have.*or 0"
            ):
                reward_terms(world, **{name: 0.5})
            with pytest.raises(ConfigError, match=name):
                environment(world.config, 2, None, **{name: -1.0})
        else:
            reward_terms(world, **{name: 0.5})
