"""Worlds with one of everything, or with nothing of something: every feature meets every such world.

A statistic that is not defined, such as the mean lifetime without a death, is left out or 0, never NaN."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from train.small import CPU, FULL, small

from nmmo_gpu import scripted
from nmmo_gpu.cli import main as cli
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError, UsageError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.evaluate import economy_row, evaluate, policy_actor, table_row
from nmmo_gpu.train.play import begin, recorded_heads
from nmmo_gpu.train.play import play as play_ticks
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import God, Trinity

SHORT = {"max_food": 2, "max_water": 2, "max_health": 2, "forage": 0}
"""Lives of a few ticks."""
DIED_OUT = "died out"
STATES = {
    "one realm": {"realms": 1},
    "one slot": {"realms": 1, "slots": 1, "populations": 1, **SHORT},
    "one population": {"populations": 1},
    "no births": {"births": 0},
    "no births in the full game": {**FULL, "births": 0},
    "no NPCs": {**FULL, "npc_numbers": (0, 0, 0)},
    "empty market": {**FULL, "works": (), "npcs": False, "npc_numbers": (), "birth_gold": 0},
    DIED_OUT: {**FULL, **SHORT, "births": -1, "npc_births": 0.0},
}
NEVER_ALIVE = ("no births", "no births in the full game")
DYING = ("one slot", DIED_OUT)
"""States in which all agents die within a few ticks."""
KINDS = {"feedforward": {}, "recurrent": {"recurrent": True}, "learned targeting": {"targeting": "learned"}}
TICKS = 6


def config_of(state, **settings):
    """Returns the config of a tiny run in a state."""
    size = {"height": 32, "width": 32, "slots": 4, "minibatches": 1, "horizon": TICKS}
    return small(**{**size, **STATES[state], **settings})


def settle(world, state):
    """Ends the births in a world that is to die out."""
    if state == DIED_OUT:
        world.config = dataclasses.replace(world.config, births=0)


def trained(state, folder, **settings):
    """Trains and records for 2 iterations; returns the folder of the run."""

    class Settled(God):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            settle(self.env.world, state)

    config = config_of(state, iterations=2, log_every=1, record=(0,), run=str(folder), **settings)
    train(config, trinity=Trinity(god=Settled))
    return folder


def ticks_in(folder):
    """Returns the number of ticks in the recordings of a folder, all of which are decoded."""
    total = 0
    for path in folder.glob("*.replay"):
        with Replay(path) as replay:
            total += sum(len(frames.columns["alive"]) for frames in replay)
    return total


@pytest.fixture(scope="module", params=STATES)
def run(request, tmp_path_factory):
    """Returns a state, and the folder of a run that was trained in it."""
    kind = list(KINDS.values())[list(STATES).index(request.param) % len(KINDS)]
    return request.param, trained(request.param, tmp_path_factory.mktemp("sparse") / "run", **kind)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_steps(state, backend):
    """Scripted and random agents play; rewards are finite, and a world without births stays empty."""
    env = Env(config_of(state, backend=backend).env)
    env.reset()
    settle(env.world, state)
    for policy in (*scripted.POLICIES.values(),) * 2:
        _, reward, *_ = env.step(policy(env))
        assert torch.isfinite(reward).all()
    assert (int(env.world.acted.sum()) == 0) == (state in NEVER_ALIVE)
    if state not in DYING:
        assert bool(env.world.agents(env.world.alive).any()) == (state not in NEVER_ALIVE)
    assert state != DIED_OUT or not env.world.agents(env.world.alive).any()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", KINDS)
def test_training(state, kind, tmp_path, capsys):
    """Curves and weights are finite, the terminal shows no NaN, and the recording holds every tick."""
    backend = ("numba", "torch")[(list(STATES).index(state) + list(KINDS).index(kind)) % 2]
    folder = trained(state, tmp_path / "run", backend=backend, **KINDS[kind])
    assert "nan" not in capsys.readouterr().out
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = curves.Tags()["scalars"]
    values = [(tag, point.value) for tag in tags for point in curves.Scalars(tag)]
    assert values and not [pair for pair in values if not math.isfinite(pair[1])]
    if state in NEVER_ALIVE or state in DYING:
        assert ("lifetime/mean" in tags) == (state in DYING)
    stored = checkpoints.load(folder, CPU)
    for name, tensor in stored.tensors.items():
        assert torch.isfinite(tensor).all(), name
    assert ticks_in(folder / "replays") == 2 * TICKS


def test_evaluation(run):
    """The metrics are finite, and the rows of the tables show neither NaN nor infinity."""
    state, folder = run
    stored = checkpoints.load(folder, CPU)
    for actor in (policy_actor(stored), None):
        found = evaluate(stored.config.env, actor, max_ticks=2 * TICKS, warmup=TICKS)
        json.dumps(found.summary, allow_nan=False)
        rows = [table_row("played", found)]
        if stored.config.env.world.extended:
            rows.append(economy_row("played", found))
        assert not [cell for row in rows for cell in row if "nan" in cell or "inf" in cell]
        assert (rows[0][1] == "-") == (state in NEVER_ALIVE)


def test_export(run, tmp_path, capsys):
    """A run of any number of realms and samples is exported, from its last tick on."""
    _, folder = run
    out = tmp_path / "file.replay"
    assert cli.run(["export", str(folder), "--ticks", "3", "--no-values", "--out", str(out)]) == 0
    assert "nan" not in capsys.readouterr().out
    assert ticks_in(tmp_path) == 3


def test_play(run, tmp_path):
    """A trained policy plays a new world, of which all realms are recorded."""
    _, folder = run
    config = checkpoints.load(folder, CPU).config.env
    env, act = begin(config, str(folder))
    recorder = Recorder(env, range(config.realms), 4, tmp_path, "", recorded_heads(act), blocking=True)
    play_ticks(env, act, recorder, TICKS)
    recorder.close()
    assert ticks_in(tmp_path) == config.realms * TICKS


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_vector_env(state, output):
    """Empty slots have zeros and no deaths."""
    gymnasium = pytest.importorskip("nmmo_gpu.adapters.gymnasium")
    envs = gymnasium.VectorEnv(config_of(state).env, output=output)
    envs.reset(seed=1)
    settle(envs.native.world, state)
    envs.action_space.seed(2)
    for _ in range(TICKS):
        actions = envs.action_space.sample()
        obs, reward, died, _, infos = envs.step(actions if output == "numpy" else torch.as_tensor(actions))
        empty = ~np.asarray(infos["alive"])
        assert not np.asarray(obs["self"])[empty].any() and np.isfinite(np.asarray(reward)).all()
        assert not np.asarray(died)[~empty].any()


@pytest.mark.parametrize("state", STATES)
def test_single_agent_env(state, monkeypatch):
    """Lives follow one another; without births there is a message and no endless wait."""
    gymnasium = pytest.importorskip("nmmo_gpu.adapters.gymnasium")
    monkeypatch.setattr(gymnasium, "MAX_WAIT_TICKS", 20)
    config = config_of(state, realms=1).env
    if config.world.births == 0:
        with pytest.raises(ConfigError, match="births = 0"):
            gymnasium.SingleAgentEnv(config)
        return
    env = gymnasium.SingleAgentEnv(config)
    env.reset(seed=1)
    settle(env.native.world, state)
    dead = False
    for _ in range(2 * TICKS):
        if dead and state == DIED_OUT:
            with pytest.raises(UsageError, match="no agent spawned in slot 0"):
                env.reset()
            return
        if dead:
            env.reset()
        dead = env.step(np.zeros(env.action_space.shape, np.int64))[2]
    assert state != DIED_OUT


@pytest.mark.parametrize("state", STATES)
def test_parallel_env(state):
    """The world continues while there are no agents, and an image shows it."""
    pettingzoo = pytest.importorskip("nmmo_gpu.adapters.pettingzoo")
    env = pettingzoo.ParallelEnv(config_of(state, realms=1).env, render_mode="rgb_array")
    observations, _ = env.reset(seed=1)
    settle(env.native.world, state)
    assert set(observations) == set(env.agents)
    for _ in range(TICKS):
        actions = {agent: np.zeros(len(env.native.action_sizes), np.int64) for agent in env.agents}
        _, rewards, *_ = env.step(actions)
        assert set(env.agents) <= set(rewards)
    env.step({})
    assert env.native.begun and int(env.native.world.tick) == TICKS + 2
    assert env.render().shape == (320, 320, 3)
    if state not in DYING:
        assert bool(env.agents) == (state not in NEVER_ALIVE)
    assert state != DIED_OUT or not env.agents


@pytest.mark.parametrize("state", STATES)
def test_torchrl_env(state):
    """A rollout has finite rewards, none of them in an empty slot."""
    torchrl = pytest.importorskip("nmmo_gpu.adapters.torchrl")
    env = torchrl.TorchRLEnv(config_of(state).env)
    first = env.reset()
    settle(env.native.world, state)
    rollout = env.rollout(TICKS, break_when_any_done=False, auto_reset=False, tensordict=first)
    assert rollout.shape[-1] == TICKS
    reward = rollout["next", "reward"].squeeze(-1)
    assert torch.isfinite(reward).all() and not reward[~rollout["alive"]].any()
