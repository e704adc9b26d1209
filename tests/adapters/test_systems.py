"""Systems through the adapters: spaces and specs have their fields, heads and masks, and each library's own
checks pass."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TransformObservation
from support.example_systems import Daylight, DeathFog, DenseRegrowth, Flag, TradeTax
from support.helpers import ODD
from support.systems import GALE, Flags, Idle

from nmmo_gpu.adapters.gymnasium import VectorEnv
from nmmo_gpu.adapters.spaces import action_space, observation_space
from nmmo_gpu.config import preset
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.systems import ActionSpec, System, check_system

SYSTEMS = {
    "daylight": [Daylight(period=8)], "flags": [Flags()], "both": [Flags(flags=5), Daylight(period=8)],
}  # fmt: skip
EXAMPLES = [Daylight(period=8), DeathFog(period=30, grace=2), DenseRegrowth(), Flag(), TradeTax()]
CROWD = {**ODD, "slots": 14, "populations": 7, "births": -1, "device": "cpu", "backend": "torch", "seed": 4}
FIELDS = {"flags.held", "flags.none", "flags.is_held", "flags.drift", "flags.wind"}


@dataclass(frozen=True)
class Acting(System):
    """A head whose mask has the name that TorchRL uses."""

    def actions(self, config):
        return {"action": ActionSpec(2, "0 nothing, 1 something")}


@pytest.fixture(params=SYSTEMS)
def systems(request):
    return SYSTEMS[request.param]


def test_the_systems_for_tests_are_sound():
    for preset_name in ("chaos", "full"):
        for system in (Flags(), Flags(flags=1, windy=False), Idle(size=3)):
            check_system(system, preset_name, ticks=8)


def test_spaces_have_the_fields_heads_and_masks():
    """With the declared dtypes, shapes and bounds; numbers without a shape have one of [1]."""
    config = preset("full", systems=SYSTEMS["both"])
    space = observation_space(config)
    assert set(space) - set(observation_space(preset("full"))) == FIELDS | {"daylight.light", "flag_mask"}
    held, wind, drift, light = (
        space[name] for name in ("flags.held", "flags.wind", "flags.drift", "daylight.light")
    )
    assert held == Box(0, 5, (1,), np.uint8) and light == Box(0, 100, (1,), np.uint8)
    assert wind == Box(-GALE, GALE, (2,), np.int16) and drift == Box(-1, 1, (1,), np.int8)
    assert space["flags.none"] == Discrete(2) and space["flags.is_held"] == MultiBinary((5,))
    assert space["flag_mask"] == MultiBinary((6,))
    assert action_space(config).nvec.tolist() == [*action_space(preset("full")).nvec, 6]


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_the_vector_environment_matches_the_native_one(systems, output):
    """In every step. Numbers without a shape have one of [1], and rewards include those of the systems."""
    envs = VectorEnv("chaos", **CROWD, realms=2, systems=systems, output=output)
    native = make("chaos", **CROWD, realms=2, systems=systems)
    seen, _ = envs.reset()
    truth = native.reset()
    earned = set()
    for _ in range(30):
        for name, view in truth.items():
            number = view.dim() == 2 and view.dtype != torch.bool
            assert np.array_equal(np.asarray(seen[name]), view.reshape(28, *view.shape[2:], *[1] * number)), (
                name
            )
        if output == "numpy":
            assert seen in envs.observation_space
        actions = random_actions(native)
        flat = actions.flatten(0, 1)
        truth, reward, *_ = native.step(actions)
        seen, paid, *_ = envs.step(flat.numpy() if output == "numpy" else flat)
        assert np.array_equal(np.asarray(paid), reward.flatten().numpy())
        earned |= set(np.asarray(paid).tolist())
    assert earned == ({0.0, 0.5, 1.0, 1.5} if "flags" in {s.name for s in systems} else {0.0, 1.0})


def test_the_checkers_of_gymnasium_and_sb3_pass(systems):
    settings = {name: value for name, value in CROWD.items() if name != "backend"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("nmmo_gpu/Full-v0", **settings, npc_numbers=(3, 2, 1), systems=systems)
        check_env(env.unwrapped)
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sb3.check_env(env)
    messages = [str(warning.message) for warning in caught]
    assert all("has an unconventional shape" in message for message in messages), messages


def test_sb3_learns_from_renamed_fields(systems):
    """Its MultiInputPolicy needs names without dots, as docs/adapters.md says."""
    ppo = pytest.importorskip("stable_baselines3").PPO
    env = gymnasium.make("nmmo_gpu/Chaos-v0", **CROWD, systems=systems)

    def renamed(fields):
        return {name.replace(".", "_"): field for name, field in fields.items()}

    env = TransformObservation(env, renamed, Dict(renamed(env.observation_space)))
    model = ppo("MultiInputPolicy", env, n_steps=12, batch_size=6, n_epochs=1, device="cpu")
    assert model.learn(24).num_timesteps == 24


def test_gymnasium_makes_vectors_of_both_kinds():
    """Also one whose sub-environments are in spawned processes."""
    for systems in SYSTEMS.values():
        envs = gymnasium.make_vec("nmmo_gpu/Chaos-v0", num_envs=28, **CROWD, systems=systems)
        assert type(envs) is VectorEnv and envs.config.world.systems == tuple(systems)
    # The worker imports the class by the name of its module, which the file of an example does not have.
    envs = gymnasium.make_vec(
        "nmmo_gpu/Chaos-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"},
        **CROWD, systems=SYSTEMS["flags"],
    )  # fmt: skip
    try:
        seen, _ = envs.reset(seed=1)
        assert seen in envs.observation_space and "flags.wind" in seen
        for _ in range(3):
            seen, *_ = envs.step(envs.action_space.sample())
        assert seen in envs.observation_space
    finally:
        envs.close()


def test_all_checkers_pass_with_the_example_systems_together():
    """Of Gymnasium, PettingZoo and TorchRL."""
    few = {"npc_numbers": (3, 2, 1), "systems": EXAMPLES}
    settings = {name: value for name, value in CROWD.items() if name != "backend"}
    env = gymnasium.make("nmmo_gpu/Full-v0", **settings, **few)
    check_env(env.unwrapped)
    assert {"flag.offset", "death_fog.distance", "daylight.light", "flag_mask"} <= set(env.observation_space)
    pettingzoo = pytest.importorskip("pettingzoo.test")
    from nmmo_gpu.adapters.pettingzoo import ParallelEnv

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        pettingzoo.parallel_api_test(ParallelEnv("full", **CROWD, **few), num_cycles=40)
    torchrl = pytest.importorskip("torchrl.envs.utils")
    from nmmo_gpu.adapters.torchrl import TorchRLEnv

    torchrl.check_env_specs(TorchRLEnv("full", **CROWD, **few, realms=2), break_when_any_done="both")


# ---------------------------------------------------------------------------------------------- PettingZoo


@pytest.mark.parametrize(("kind", "preset"), [("daylight", "full"), ("flags", "chaos"), ("both", "full")])
def test_pettingzoos_tests_pass(kind, preset, capsys):
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
    from pettingzoo.utils import parallel_to_aec

    from nmmo_gpu.adapters.pettingzoo import ParallelEnv

    def made():
        return ParallelEnv(preset, **CROWD, systems=SYSTEMS[kind])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parallel_api_test(made(), num_cycles=40)
    assert ["does not have possible_agents" in str(warning.message) for warning in caught] == [True]
    parallel_seed_test(made)
    api_test(parallel_to_aec(made()), num_cycles=10)
    assert "Passed Parallel API test" in capsys.readouterr().out


def test_pettingzoo_agents_observe_and_act():
    """What an agent raises, it holds in its next observation, and its mask forbids."""
    pytest.importorskip("pettingzoo")
    from nmmo_gpu.adapters.pettingzoo import ParallelEnv

    env = ParallelEnv("chaos", **CROWD, systems=SYSTEMS["both"])
    env.reset()
    raised = {agent: 1 + number % 5 for number, agent in enumerate(env.agents)}
    seen, rewards, died, _, _ = env.step({a: np.array([0, 0, 0, flag]) for a, flag in raised.items()})
    alive = [agent for agent in raised if not died[agent]]
    assert len(alive) > 5
    for agent in alive:
        assert seen[agent] in env.observation_space(agent)
        assert seen[agent]["flags.held"] == raised[agent] and rewards[agent] == 1.5
        mask = [1] * 6
        mask[raised[agent]] = 0
        assert seen[agent]["flag_mask"].tolist() == mask and seen[agent]["flags.none"] == 0


# ------------------------------------------------------------------------------------------------- TorchRL


def test_torchrl_accepts_names_with_dots(systems, tmp_path):
    """In specs, rollouts, batched environments, collectors and storages."""
    pytest.importorskip("torchrl")
    from torchrl.collectors import Collector
    from torchrl.data import LazyMemmapStorage, ReplayBuffer
    from torchrl.envs import ActionMask, SerialEnv, TransformedEnv
    from torchrl.envs.utils import check_env_specs

    from nmmo_gpu.adapters.torchrl import TorchRLEnv, key

    def made(**more):
        return TorchRLEnv("chaos", **CROWD, realms=2, systems=systems, **more)

    env = made()
    check_env_specs(env, break_when_any_done="both")
    check_env_specs(TransformedEnv(made(), ActionMask()), break_when_any_done=False)
    fields = env.native.layout.fields
    assert {key(name) for name in fields} <= set(env.observation_spec.keys())
    assert env.action_spec.shape == (2, 14, len(env.native.action_heads))
    for name in env.native.layout.system_fields:
        spec = env.observation_spec[name]
        assert spec.dtype == fields[name].dtype and spec.shape == (2, 14, *fields[name].shape)

    def at_random(tensordict):
        return tensordict.set("action", random_actions(env.native))

    native = make("chaos", **CROWD, realms=2, systems=systems)
    env = made()
    played = env.rollout(6, at_random, break_when_any_done=False)
    truth = native.reset()
    for t in range(6):
        for name, view in truth.items():
            assert torch.equal(played[..., t][key(name)], view), name
        if "flag_mask" in truth:
            assert torch.equal(played[..., t]["action_mask"][..., -len(truth["flag_mask"][0, 0]) :]
                               [truth["alive"]], truth["flag_mask"][truth["alive"]])  # fmt: skip
        truth, reward, *_ = native.step(played[..., t]["action"])
        assert torch.equal(played[..., t]["next", "reward"], reward[..., None])

    batched = SerialEnv(2, [lambda: TransformedEnv(made(), ActionMask())] * 2)
    assert {key(name) for name in fields} <= set(batched.rollout(2).keys())
    buffer = ReplayBuffer(storage=LazyMemmapStorage(100, scratch_dir=tmp_path / "buffer"), batch_size=4)
    for batch in Collector(TransformedEnv(made(), ActionMask()), frames_per_batch=28, total_frames=56):
        buffer.extend(batch.flatten())
    assert set(env.native.layout.system_fields) <= set(buffer.sample().keys())


def test_torchrl_refuses_a_head_whose_mask_it_could_not_name():
    pytest.importorskip("torchrl")
    from nmmo_gpu.adapters.torchrl import TorchRLEnv

    with pytest.raises(ConfigError, match=r"called action would be called action_mask.*choose another name"):
        TorchRLEnv("chaos", **CROWD, systems=[Acting()])
