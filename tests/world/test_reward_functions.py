"""Rewards that users compute: functions in an EnvConfig, and those of systems."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from support.helpers import assert_same
from support.world_systems import Everything

from nmmo_gpu.config import EnvConfig, RewardFunction, preset
from nmmo_gpu.config.serialize import from_plain, to_plain
from nmmo_gpu.config.systems import System
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.errors import ConfigError

TINY = {
    "height": 40, "width": 40, "slots": 12, "populations": 3, "births": 1, "immune_ticks": 2, "realms": 2,
    "device": "cpu", "backend": "torch",
}  # fmt: skip


def tiles(world, before):
    """A point for each new tile."""
    return (world.explored - before.explored).float()


class Rewards:
    """Functions in a class, which have a qualified name."""

    @staticmethod
    def health(world, before):
        return world.agents(world.health).float()


def begun(reward="alive", systems=(), **settings):
    env = make("chaos", **{**TINY, **settings}, reward=reward, systems=systems)
    env.reset()
    return env


def steps(env, number=25):
    """Plays; yields (world before the tick, reward, died) of each tick."""
    for _ in range(number):
        before = env.world.clone()
        _, reward, died, _, _ = env.step(random_actions(env))
        yield before, reward.clone(), died.clone()


@pytest.mark.parametrize("base", ["alive", "death", "none", tiles])
def test_a_function_replaces_the_base_and_all_else_is_added(base):
    """Terms and systems add to any base. Agents that die get what the tick gives, and empty slots nothing;
    computed agent by agent."""
    env = begun(base, (Everything(bonus=5),), reward_tile=0.5, reward_death=-3.0)
    deaths = empty = 0
    for before, reward, died in steps(env):
        world, voice = env.world, env.world.systems["everything"]["voice"]
        for realm in range(2):
            for slot in range(12):
                if not before.alive[realm, slot]:
                    assert reward[realm, slot] == 0
                    empty += 1
                    continue
                dies = bool(died[realm, slot])
                new = int(world.explored[realm, slot] - before.explored[realm, slot])
                bases = {"alive": not dies, "death": -dies, "none": 0, tiles: new}
                shouts = int(voice[realm, slot] - before.systems["everything"]["voice"][realm, slot])
                due = bases[base] + 0.5 * new - 3 * dies + 5 * new + shouts
                assert reward[realm, slot] == due
                deaths += dies
    assert deaths > 3 and empty > 10


def test_before_is_the_state_before_the_tick():
    """Of the rules and of systems, whatever order the reward reads it in."""
    seen = {}

    def watch(world, before):
        seen.update(
            sky=before.systems["everything"]["sky"].clone(), health=before.health.clone(),
            material=before.material.clone(), tick=before.tick.clone(),
        )  # fmt: skip
        assert "sky" in before.systems["everything"] and "earth" not in before.systems["everything"]
        assert "everything" in before.systems and "nothing" not in before.systems

    env = begun(watch, (Everything(),))
    changes = 0
    for before, reward, _ in steps(env, 12):
        assert torch.equal(seen["health"], before.health) and torch.equal(seen["material"], before.material)
        assert torch.equal(seen["sky"], before.systems["everything"]["sky"])
        assert seen["tick"] == before.tick == env.world.tick - 1
        changes += int((env.world.health != before.health).sum())
        assert reward.any(), "the system's reward, as the function returns None"
    assert changes > 10


def test_only_what_is_read_is_kept():
    env = begun(lambda world, before: tiles(world, before) * before.systems["everything"]["voice"].sign(),
                (Everything(),))  # fmt: skip
    kept = env._rewards.kept
    assert sorted(kept) == ["everything.voice", "explored"]
    places = {name: tensor.data_ptr() for name, tensor in kept.items()}
    list(steps(env, 2))
    assert places == {name: tensor.data_ptr() for name, tensor in env._rewards.kept.items()}
    assert begun()._rewards.kept == {}


def test_what_is_read_in_some_ticks_only_is_an_error():
    env = begun(lambda world, before: tiles(world, before) + (0 if world.tick < 4 else before.food[:, :12]))
    with pytest.raises(AttributeError, match=r"before.food is not kept: .* Read it unconditionally"):
        list(steps(env, 5))
    system = sometimes()
    env = begun(systems=(system,))
    with pytest.raises(AttributeError, match=r"before.everything.voice is not kept"):
        list(steps(env, 5))
    with pytest.raises(AttributeError, match=r"before.wealth does not exist"):
        begun(lambda world, before: before.wealth)


def sometimes():
    """Returns a system whose reward reads its state from the third tick on."""

    def reward(self, world, before):
        return None if world.tick < 3 else before.systems["everything"]["voice"].float()

    return dataclass(frozen=True)(
        type("Everything", (Everything,), {"reward": reward, "name": "everything"})
    )()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda world, before: world.explored, r"reward is torch.int32 \(2, 12\); return torch.float32"),
        (lambda world, before: world.explored.double(), r"reward is torch.float64 \(2, 12\)"),
        (lambda world, before: world.explored.float().sum(1), r"reward is torch.float32 \(2,\)"),
        (lambda world, before: world.material.float(), r"reward is torch.float32 \(2, 40, 40\)"),
        (lambda world, before: 1.0, r"reward is float; return torch.float32"),
    ],
)  # fmt: skip
def test_a_wrong_result_is_an_error_at_once(result, message):
    """Before the first tick, and with the name of the system if it is a system's."""
    with pytest.raises(ConfigError, match=message):
        make("chaos", **TINY, reward=result)
    methods = {"reward": lambda self, world, before: result(world, before)}
    system = dataclass(frozen=True)(type("Own", (System,), methods))()
    with pytest.raises(ConfigError, match="the reward of system Own is"):
        make("chaos", **TINY, systems=(system,))


def test_values_of_empty_slots_do_not_matter():
    """A division by zero there gives no NaN, and the rewards of others are unchanged."""

    def wild(world, before):
        living = world.agents(world.cause) == 0
        return torch.where(world.agents(world.alive) | ~living, 2.0, float("nan"))

    env = begun(wild)
    empty = 0
    for before, reward, _ in steps(env):
        acting = before.agents(before.alive)
        assert torch.equal(reward, 2.0 * acting)
        empty += int((~acting).sum())
    assert empty > 10


def test_the_reward_does_not_change_the_world():
    plain, rewarded = begun(), begun(tiles)
    for _ in range(10):
        actions = random_actions(plain)
        plain.step(actions)
        rewarded.step(actions)
    assert_same(plain.world, rewarded.world)


@pytest.mark.parametrize("function", [tiles, Rewards.health])
def test_functions_are_plain_by_name(function):
    config = EnvConfig(world=preset("chaos"), reward=function)
    assert config.reward == RewardFunction(function)
    plain = to_plain(config)
    assert plain["reward"] == {"function": f"{__name__}:{function.__qualname__}"}
    assert from_plain(EnvConfig, plain) == config and hash(from_plain(EnvConfig, plain)) == hash(config)
    assert from_plain(EnvConfig, to_plain(dataclasses.replace(config, reward="none"))).reward == "none"


@pytest.mark.parametrize("name", ["nowhere:f", f"{__name__}:missing", "", f"{__name__}:TINY"])
def test_functions_that_are_not_imported_are_refused(name):
    plain = to_plain(EnvConfig(reward=tiles))
    plain["reward"] = {"function": name}
    with pytest.raises(ConfigError, match=r"reward is the function .* not imported"):
        from_plain(EnvConfig, plain)


def test_a_local_function_can_be_played_but_not_loaded_by_name():
    env = begun(lambda world, before: tiles(world, before) + 1)
    assert next(steps(env))[1].max() >= 1
    with pytest.raises(ConfigError, match=r"reward is the function .*lambda.* not imported"):
        from_plain(EnvConfig, to_plain(env.config))


def test_an_intervention_is_not_rewarded():
    """The state before the next tick is that after the change."""
    env = begun(lambda world, before: (world.agents(world.food) - before.food).float())
    list(steps(env, 2))
    with env.intervene() as world:
        world.food.copy_(torch.where(world.alive, 10, world.food))
    for before, reward, _ in steps(env, 1):
        acting = before.alive
        assert (before.food[acting] == 10).all()
        change = (env.world.food - before.food).float()
        assert torch.equal(reward, torch.where(acting, change, 0.0)) and (reward[acting].abs() <= 6).all()


def test_an_environment_of_a_stored_world_rewards_the_next_tick_alone():
    env = begun(tiles)
    list(steps(env, 5))
    other = Env(env.config, env.world.clone())
    actions = random_actions(env)
    assert torch.equal(env.step(actions)[1], other.step(actions)[1])
