"""Evaluation: what it measures, for how long, and that stored policies act as in training."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from train.small import CPU, KINDS, reloaded, shout, small

from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import evaluate as evaluation
from nmmo_gpu.train.evaluate import (
    LIFETIMES,
    Evaluation,
    as_v1_ran,
    evaluate,
    policy_actor,
    slots_kept_full,
    table_row,
)
from nmmo_gpu.train.run import Run, load_weights
from nmmo_gpu.train.trinity import Sword


class Watcher:
    """Acts at random, and stores who lived before each tick and how many had died by then."""

    def __init__(self):
        self.living, self.deaths, self.env = [], [], None

    def __call__(self, env):
        self.env = env
        return self.act

    def act(self, env):
        self.living.append(int(env.world.alive.sum()))
        self.deaths.append(int(env.world.deaths.sum()))
        return random_actions(env)


def test_mean_lifetime_is_agent_steps_per_death():
    """It is counted over the last ticks, which cover at least ten mean lifetimes, after a warm-up of two."""
    watcher = Watcher()
    found = evaluate(small(realms=3).env, watcher, warmup=25)
    deaths = int(watcher.env.world.deaths.sum()) - watcher.deaths[-found.ticks]
    assert deaths > 100
    assert found.lifetime == sum(watcher.living[-found.ticks :]) / deaths
    assert found.summary["agent_steps"] == sum(watcher.living[-found.ticks :])
    assert found.ticks >= LIFETIMES * found.lifetime
    assert LIFETIMES >= 10
    before = len(watcher.living) - found.ticks
    assert before >= 25
    assert before >= 2 * sum(watcher.living[:before]) / watcher.deaths[before]
    assert 0 < found.summary["lifetime/median"] <= found.summary["lifetime/90th percentile"]


def test_it_stops_at_max_ticks():
    """If ten lifetimes take longer, it plays no more than the allowed ticks, in whole steps of the
    warm-up."""
    watcher = Watcher()
    found = evaluate(small().env, watcher, max_ticks=60, warmup=10)
    assert len(watcher.living) == 60 and 10 <= found.ticks <= 50


def test_a_world_without_agents_has_no_lifetime():
    """Without births there is no lifetime to measure, and the evaluation still ends."""
    found = evaluate(small(births=0).env, max_ticks=80, warmup=10)
    assert found.lifetime == math.inf and "lifetime/mean" not in found.summary
    assert found.summary["population/alive per realm"] == 0


def test_shortest_prolongs_the_measurement():
    """Up to max_ticks."""
    config = small().env
    usual = evaluate(config, warmup=20)
    longer = evaluate(config, warmup=20, shortest=usual.ticks + 30)
    assert longer.ticks >= usual.ticks + 30
    assert evaluate(config, warmup=20, shortest=10**6, max_ticks=200).ticks < 200


def test_random_agents_are_reproducible():
    """The same seed gives the same numbers, and another seed gives others."""
    config = small().env
    one, same = (evaluate(config, warmup=20) for _ in range(2))
    other = evaluate(dataclasses.replace(config, seed=77), warmup=20)
    assert one == same != other


@pytest.fixture(
    scope="module", params=KINDS, ids=lambda kind: f"{'recurrent' if kind[0] else 'plain'}-{kind[1]}"
)
def stored(request, tmp_path_factory):
    """Returns a checkpoint of every kind of policy, with scaled-up heads."""
    recurrent, targeting = request.param
    run = Run(small(recurrent=recurrent, targeting=targeting))
    run.iterate()
    shout(run.sword.policy)
    return reloaded(run, tmp_path_factory.mktemp("run") / "checkpoint.safetensors")


def test_a_stored_policy_acts_as_in_training(stored):
    """In another world with deaths and births, the actor's actions in every tick are those of a Sword with
    the same weights whose recurrent state is cleared at death, as in rollouts."""
    config = dataclasses.replace(stored.config.env, seed=11, realms=3)
    env = Env(config)
    env.reset()
    sword = Sword(dataclasses.replace(stored.config, env=config), CPU)
    load_weights(sword, stored)
    act = policy_actor(stored)(env)
    state = sword.policy.initial_state(env.world.alive.numel(), CPU)
    deaths = births = 0
    for _ in range(60):
        found = act(env)
        decision = sword.decide(env.records, env.world, state)
        assert torch.equal(found, decision.actions)
        ids = env.world.entity.clone()
        _, _, died, _, _ = env.step(found)
        deaths += int(died.sum())
        births += int((ids != env.world.entity).sum())
        if decision.state is not None:
            state = decision.state * (~died).view(-1, 1)
    assert deaths > 20 and births > 20


def test_evaluating_a_stored_policy_is_reproducible(stored):
    """Two evaluations of one checkpoint agree and differ from random play."""
    config = as_v1_ran(stored.config.env, realms=2)
    one, same = (evaluate(config, policy_actor(stored), warmup=20) for _ in range(2))
    assert one == same != evaluate(config, warmup=20)


def test_settings_of_the_two_measurements():
    """One has one birth a tick and 16 realms, as v1 had, with other maps and random numbers than training;
    the other also keeps the slots full."""
    config = small(births=-1, regrowth=0.5, realms=5, seed=3).env
    world = as_v1_ran(config)
    assert world.world == dataclasses.replace(config.world, births=1)
    assert world.seed != config.seed and world.realms == 16
    assert slots_kept_full(world) == dataclasses.replace(
        world, world=dataclasses.replace(world.world, births=-1)
    )
    changed = as_v1_ran(config, seed=8, realms=2, device="cpu")
    assert (changed.seed, changed.realms, changed.device) == (8, 2, "cpu")
    assert not torch.equal(Env(world).world.base[0], Env(config).world.base[0])
    trained_on_a_gpu = dataclasses.replace(config, backend="triton")
    assert as_v1_ran(trained_on_a_gpu).backend == "auto"


def test_table_rows():
    """A row has as many cells with deaths as without, and shares are percentages."""
    dead = {
        "lifetime/mean": 12.34, "lifetime/median": 9.0, "lifetime/90th percentile": 40.0,
        "population/alive per realm": 15.06, "deaths/lava": 0.5, "deaths/hunger": 0.25,
        "deaths/thirst": 0.125, "deaths/combat": 0.125,
    }  # fmt: skip
    row = table_row("trained", Evaluation(400, dead))
    assert row == ["trained", "12.3", "9", "40", "15.1", "50.0 %", "25.0 %", "12.5 %", "12.5 %"]
    none = table_row("idle", Evaluation(400, {"population/alive per realm": 3.0, "agent_steps": 1200}))
    assert none[:2] == ["idle", "> 400"] and len(none) == len(row)
    empty = table_row("empty", Evaluation(400, {"population/alive per realm": 0.0, "agent_steps": 0}))
    assert empty == ["empty", *["-"] * 8]


class Impatient(evaluation.Tally):
    """A tally whose summary can be read only a few times."""

    asked = 0

    def summary(self):
        self.asked += 1
        if self.asked > 1000:
            raise TimeoutError
        return super().summary()


def test_a_warmup_of_no_ticks_ends(monkeypatch):
    """The warm-up is also the step of the measurement, so zero must not loop forever."""
    monkeypatch.setattr(evaluation, "Tally", Impatient)
    try:
        evaluate(small().env, warmup=0, max_ticks=20)
    except ConfigError as error:
        assert "warmup" in str(error)
