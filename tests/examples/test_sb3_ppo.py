"""The Stable-Baselines3 example keeps SB3's contract in its bridge, and its training changes the weights."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.helpers import ODD

from nmmo_gpu.adapters.gymnasium import VectorEnv

pytest.importorskip("stable_baselines3")
SCRIPT = Path(__file__).parents[2] / "examples" / "sb3_ppo.py"
_spec = importlib.util.spec_from_file_location("sb3_ppo", SCRIPT)
sb3_ppo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sb3_ppo)


def small(name="chaos"):
    here = {"realms": 2, "births": -1, "device": "cpu", "backend": "torch"}
    return VectorEnv(name, **ODD, slots=14, populations=7, **here)


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_the_bridge_scales_observations_and_reports_whole_lives(name):
    envs = small(name)
    bridge, twin = sb3_ppo.Bridge(envs), small(name)
    bridge.seed(3)
    seen = bridge.reset()
    truth, _ = twin.reset(seed=3)
    assert twin.native.world.digest() == envs.native.world.digest()
    bridge.action_space.seed(1)
    lives, paid = 0, np.zeros(28)
    for _ in range(40):
        assert all(one in bridge.observation_space for one in seen)
        assert np.array_equal(seen.any(1), truth["alive"] > 0), "an empty slot observes zeros"
        actions = np.stack([bridge.action_space.sample() for _ in range(28)])
        seen, rewards, done, infos = bridge.step(actions)
        truth, expected, terminated, _, native_info = twin.step(actions)
        assert np.array_equal(rewards, expected) and np.array_equal(done, terminated)
        paid += rewards
        for number, info in enumerate(infos):
            assert bool(info) == done[number]
            if info:
                assert info["episode"] == {"r": paid[number], "l": native_info["lifetime"][number]}
                assert info["episode"]["r"] == info["episode"]["l"] - 1
                assert not info["terminal_observation"].any()
                paid[number], lives = 0, lives + 1
    assert lives > 10


def test_the_vector_keeps_every_observation_field():
    bridge = sb3_ppo.Bridge(small("full"))
    observations, _ = bridge.envs.reset()
    seen = bridge._vectors(observations)
    start = 0
    for name, array in observations.items():
        width = array.reshape(28, -1).shape[1]
        part = seen[:, start : start + width].reshape(array.shape) * bridge.largest.get(name, 1)
        assert np.allclose(part, array, atol=0.01), name
        start += width
    assert start == seen.shape[1] == bridge.observation_space.shape[0]


def test_two_iterations_change_the_weights_and_stay_finite(capsys):
    envs = small()
    untrained = sb3_ppo.train(envs, steps=0, horizon=4, seed=1).policy.state_dict()
    model = sb3_ppo.train(envs, steps=2 * 4 * 28, horizon=4, seed=1)
    assert model.num_timesteps == 224
    for name, weight in model.policy.state_dict().items():
        assert torch.isfinite(weight).all(), name
        assert not torch.equal(weight, untrained[name]), name
    assert "ep_len_mean" in capsys.readouterr().out


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=300, **environment
    )


def test_impossible_settings_have_no_traceback():
    ended = run("--realms", "0", "--device", "cpu")
    assert ended.returncode == 1 and ended.stderr.startswith("realms = 0 is out of range")
    assert "Traceback" not in ended.stderr


def test_without_sb3_the_error_names_the_extra(tmp_path):
    """A module of that name which cannot be imported hides SB3."""
    (tmp_path / "stable_baselines3.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    ended = run("--help", env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == 1 and 'pip install "nmmo-gpu[adapters]"' in ended.stderr
