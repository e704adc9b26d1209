"""The Gymnasium environments keep Gymnasium's contract and otherwise match the native environment."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as wrappers
from support.helpers import ODD

from nmmo_gpu.adapters import gymnasium as adapter
from nmmo_gpu.adapters.gymnasium import SingleAgentEnv, VectorEnv
from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import configure, make, random_actions
from nmmo_gpu.errors import ActionError, ConfigError, UsageError

HERE = {**ODD, "device": "cpu", "backend": "torch"}
SMALL = {**HERE, "slots": 14, "populations": 7, "realms": 3, "seed": 4}
ALONE = {**HERE, "slots": 9, "populations": 3, "births": -1, "seed": 4}
PRESETS = ("law", "chaos", "full")
INFOS = ("alive", "entity", "lifetime", "explored", "cause")


def flat(tensor):
    """Converts a tensor [R, A, ...] to a NumPy array [R * A, ...]."""
    return own(tensor.flatten(0, 1))


def own(part):
    """Copies an array or tensor, or a dict of them, to NumPy."""
    if isinstance(part, dict):
        return {name: own(array) for name, array in part.items()}
    return np.array(part.numpy() if isinstance(part, torch.Tensor) else part)


def same(seen, other):
    return all(np.array_equal(seen[name], other[name]) for name in seen.keys() | other.keys())


def nothing(seen, at):
    return not any(array[at].any() for array in seen.values())


# -------------------------------------------------------------------------------------- the vector's contract


@pytest.mark.parametrize(
    ("name", "settings", "output"),
    [
        ("chaos", {"births": 3}, "numpy"), ("chaos", {"births": -1, "reward": "death"}, "torch"),
        ("law", {"births": 1}, "torch"),
        ("full", {"births": -1, "reward_tile": 0.5, "reward_death": -2.0, "realms": 2}, "numpy"),
    ],
)  # fmt: skip
def test_autoreset_matches_the_native_environment_in_every_step(name, settings, output):
    """Compares with a native environment that gets zeros as the actions of empty slots: actions of empty
    slots have no effect, and all else is passed on unchanged."""
    settings = {**SMALL, **settings}
    envs, native = VectorEnv(name, output=output, **settings), make(name, **settings)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    world, number = native.world, settings["realms"] * settings["slots"]
    envs.action_space.seed(7)
    seen, infos = map(own, envs.reset())
    truth = native.reset()
    before, died, entity = np.zeros(number, bool), np.zeros(number, bool), np.full(number, -1)
    deaths = refilled = waited = 0
    for _ in range(60):
        alive = flat(truth["alive"])
        assert same(seen, {part: flat(view) for part, view in truth.items()})
        assert nothing(seen, ~alive), "empty slots observe nothing but zeros"
        # An agent that was alive still is unless it has just died, and a new agent has not been there before.
        assert np.array_equal(alive & before, before & ~died) and not (died & ~before).any()
        assert (infos["entity"] == entity)[before].all() and (infos["entity"] > entity)[alive & ~before].all()

        known = alive | died
        assert set(infos) == {prefix + part for prefix in ("", "_") for part in INFOS}
        assert infos["_alive"].all() and np.array_equal(infos["alive"], alive)
        assert np.array_equal(infos["_cause"], died) and (infos["cause"] > 0)[died].all()
        for part, field in (("entity", world.entity), ("lifetime", world.age), ("explored", world.explored)):
            assert np.array_equal(infos["_" + part], known)
            assert np.array_equal(infos[part][known], flat(world.agents(field))[known])

        deaths, entity = deaths + died.sum(), np.where(known, infos["entity"], entity)
        dead, before = died, alive
        actions = torch.tensor(envs.action_space.sample())
        quiet = torch.where(torch.tensor(alive)[:, None], actions, 0)
        truth, reward, dying, _, _ = native.step(quiet.view(settings["realms"], settings["slots"], -1))
        given = envs.step(actions.numpy() if output == "numpy" else actions)
        seen, rewards, died, truncated, infos = map(own, given)
        assert np.array_equal(rewards, flat(reward)) and np.array_equal(died, flat(dying))
        assert not truncated.any() and not rewards[~alive].any() and not died[~alive].any()
        refilled += (infos["alive"] & dead).sum()
        waited += (~infos["alive"] & dead).sum()
    assert deaths > 20 and refilled > 5
    assert waited < refilled if settings["births"] == -1 else waited > 5


@pytest.mark.parametrize("name", PRESETS)
def test_observations_are_in_the_observation_space(name):
    envs = VectorEnv(name, **SMALL, births=-1)
    seen, _ = envs.reset(seed=2)
    for _ in range(25):
        assert seen in envs.observation_space
        for number, one in enumerate(gymnasium.vector.utils.iterate(envs.observation_space, seen)):
            assert number % 5 or one in envs.single_observation_space
        seen, *_ = envs.step(envs.action_space.sample())


def test_returned_arrays_are_not_overwritten():
    envs = VectorEnv("chaos", **SMALL, births=-1)
    held = [envs.reset(), *(envs.step(envs.action_space.sample()) for _ in range(5))]
    copies = [list(map(own, results)) for results in held]
    for _ in range(5):
        envs.step(envs.action_space.sample())
    envs.reset()
    for results, before in zip(held, copies, strict=True):
        for part, copy in zip(results, before, strict=True):
            assert same(part, copy) if isinstance(part, dict) else np.array_equal(part, copy)
    # Writing into a returned array does not change the environment.
    spoilt, clean = VectorEnv("chaos", **SMALL), VectorEnv("chaos", **SMALL)
    for _ in range(3):
        results = [env.reset() if env.native is None else env.step(env.action_space.sample() * 0)
                   for env in (spoilt, clean)]  # fmt: skip
        assert same(results[0][0], results[1][0])
        for array in results[0][0].values():
            array.fill(1)
    assert spoilt.native.world.digest() == clean.native.world.digest()


def test_torch_output_shares_the_environments_memory():
    envs = VectorEnv("chaos", **SMALL, births=-1, output="torch")
    seen, infos = envs.reset()
    for _ in range(3):
        for name, view in envs.native.layout.views(envs.native.records).items():
            assert seen[name].data_ptr() == view.data_ptr() and seen[name].dtype == view.dtype
            assert seen[name].shape == (42, *view.shape[2:])
        assert infos["entity"].data_ptr() == envs.native.world.entity.data_ptr()
        actions = random_actions(envs.native).flatten(0, 1)
        seen, rewards, terminated, truncated, infos = envs.step(actions)
        assert rewards.data_ptr() == envs.native._reward.data_ptr()
        assert all(isinstance(part, torch.Tensor) for part in (terminated, truncated, *infos.values()))


# ----------------------------------------------------------------------------------------------------- reset


def test_each_reset_begins_a_new_world_that_its_seed_replays():
    envs = VectorEnv("chaos", **SMALL, births=-1)

    def play(seed=None):
        seen, _ = envs.reset(seed=seed)
        first = own(seen)
        for _ in range(3):
            envs.step(np.zeros(envs.action_space.shape, np.int64))
        return first, envs.native.config.seed, envs.native.world.digest()

    begun = [play(), play(), play(), play(11), play(), play(11), play()]
    seeds, digests = [seed for _, seed, _ in begun], [digest for *_, digest in begun]
    assert seeds[0] == 4 and seeds[3] == seeds[5] == 11, "the config's seed first, then the given seeds"
    assert digests[3] == digests[5] and digests[4] == digests[6], "a seed determines the following worlds too"
    assert len(set(digests)) == 5
    again = VectorEnv("chaos", **SMALL, births=-1)
    for first, seed, _ in begun[:3]:
        assert same(again.reset()[0], first) and again.native.config.seed == seed
    native = make("chaos", **{**SMALL, "births": -1, "seed": 11})
    assert np.array_equal(begun[3][0]["self"], flat(native.reset()["self"])), "the seed is that of the world"


def test_reset_works_with_a_negative_seed_in_the_config():
    envs = VectorEnv("law", **{**SMALL, "seed": -9})
    envs.reset()
    assert envs.native.config.seed == -9
    envs.reset()


def test_reset_options_are_refused():
    for env in (VectorEnv("chaos", **SMALL), SingleAgentEnv("chaos", **ALONE)):
        env.reset(options={})
        with pytest.raises(UsageError, match=r"no options, but got reset_mask; leave"):
            env.reset(options={"reset_mask": np.ones(42, bool)})


def test_step_needs_a_reset_and_an_open_environment():
    for env in (VectorEnv("chaos", **SMALL), SingleAgentEnv("chaos", **ALONE)):
        for _ in range(2):
            with pytest.raises(UsageError, match=r"call reset\(\) first"):
                env.step(env.action_space.sample())
            env.reset()
            env.step(env.action_space.sample())
            env.close()


# ---------------------------------------------------------------------------------------------------- actions


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_wrong_actions_are_refused(output):
    envs = VectorEnv("chaos", **SMALL, output=output)
    envs.reset()
    give = np.asarray if output == "numpy" else torch.as_tensor
    good = np.zeros((42, 3), np.int64)
    digest = envs.native.world.digest()
    for bad, message in (
        (good[:41], r"shape \(41, 3\); give \(42, 3\).*\(move, style, target\)"),
        (good.reshape(3, 14, 3), r"shape \(3, 14, 3\); give \(42, 3\)"),
        (good + 0.5, r"dtype (torch\.)?float64; give integers"),
        (good - 1, r"actions\[0, 0, 0\] \(move\) = -1 is out of range"),
    ):
        with pytest.raises(ActionError, match=message):
            envs.step(give(bad))
    assert envs.native.world.digest() == digest
    if output == "torch":
        with pytest.raises(ActionError, match="actions is a ndarray"):
            envs.step(good)
    else:
        envs.step(good.tolist())
    envs.step(give(good.astype(np.int32)))


def test_sub_environments_are_the_slots_in_realm_order():
    """Sub-environment 14 * r + s controls slot s of realm r."""
    envs = VectorEnv("law", **SMALL, births=-1)
    _, infos = envs.reset()
    number = int((infos["alive"] & (np.arange(42) >= 28)).nonzero()[0][0])
    seen = {}
    for move in range(5):
        actions = np.zeros((42, 3), np.int64)
        actions[number, 0] = move
        envs.reset(seed=4)
        row_before, col_before = (
            int(f[2, number - 28]) for f in (envs.native.world.row, envs.native.world.col)
        )
        envs.step(actions)
        world = envs.native.world
        seen[move] = int(world.row[2, number - 28]) - row_before, int(world.col[2, number - 28]) - col_before
    assert seen[0] == (0, 0) and len(set(seen.values())) > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 15}, r"num_envs = 15 is not a multiple of slots = 14.*choose 14 for one realm"),
        ({"num_envs": 0}, "num_envs = 0 is not a multiple"),
        ({"num_envs": 28, "realms": 2}, "realms = 2 and num_envs = 28: give only one of the two"),
        ({"output": "jax"}, "output = 'jax' is unknown"),
        ({"agents": 3}, "agents = 3: WorldConfig has no such field"),
        ({"device": "nonsense"}, "device = 'nonsense' is not a device"),
    ],
)
def test_impossible_settings_are_refused_at_construction(settings, message):
    small = {name: value for name, value in SMALL.items() if name != "realms"}
    with pytest.raises(ConfigError, match=message):
        VectorEnv("chaos", **{**small, **settings})


def test_a_config_can_replace_the_preset():
    config = configure("law", **SMALL)
    for env in (VectorEnv(config), VectorEnv(config, num_envs=42)):
        assert env.config == config and env.num_envs == 42
    assert VectorEnv(config, num_envs=14).config.realms == 1
    with pytest.raises(ConfigError, match="realms, seed: an EnvConfig already has all settings"):
        VectorEnv(config, realms=3, seed=2)


# --------------------------------------------------------------------------------------- Gymnasium's wrappers


@pytest.mark.parametrize("births", [-1, 3])
def test_recorded_returns_and_lengths_are_lifetimes(births):
    """An agent earns 1 per tick that it survives, so a return is the lifetime minus one. Gymnasium counts the
    steps in which a slot is empty between two agents, which makes some lengths larger."""
    envs = wrappers.RecordEpisodeStatistics(VectorEnv("chaos", **SMALL, births=births), buffer_length=10_000)
    envs.action_space.seed(1)
    envs.reset(seed=3)
    lifetimes, lengths, waited = [], [], 0
    for _ in range(80):
        *_, infos = envs.step(envs.action_space.sample())
        if "episode" in infos:
            died = infos["_episode"]
            assert np.array_equal(died, infos["_cause"])
            lifetimes += infos["lifetime"][died].tolist()
            lengths += infos["episode"]["l"][died].tolist()
            waited += int((infos["episode"]["l"][died] > infos["lifetime"][died]).sum())
    assert len(lifetimes) > 100 and min(lifetimes) >= 1
    assert [1 + r for r in envs.return_queue] == lifetimes
    assert all(length >= lifetime for length, lifetime in zip(lengths, lifetimes, strict=True))
    assert waited < len(lifetimes) / 2 if births == -1 else waited > 10


def test_gymnasium_wrappers_work():
    envs = VectorEnv("chaos", **SMALL, births=-1)
    flattened = wrappers.FlattenObservation(envs)
    seen, _ = flattened.reset(seed=1)
    assert seen in flattened.observation_space
    listed = wrappers.DictInfoToList(wrappers.ClipReward(envs, max_reward=0.5))
    listed.reset(seed=1)
    for _ in range(30):
        _, rewards, terminated, _, infos = listed.step(listed.action_space.sample())
        assert rewards.max() <= 0.5
        for number, info in enumerate(infos):
            assert ("cause" in info) == terminated[number]
            assert ("entity" in info) == (info["alive"] or terminated[number])
        if terminated.any():
            return
    raise AssertionError("no agent died")


@pytest.mark.parametrize("name", PRESETS)
def test_gymnasium_makes_both_environments_by_name(name):
    number = f"nmmo_gpu/{name.capitalize()}-v0"
    settings = {key: value for key, value in SMALL.items() if key != "realms"}
    envs = gymnasium.make_vec(number, num_envs=28, **settings)
    assert type(envs) is VectorEnv and envs.config.realms == 2
    assert envs.config.world == preset(name, **ODD, slots=14, populations=7)
    seen, _ = envs.reset(seed=1)
    assert seen in envs.observation_space
    with pytest.raises(ConfigError, match="num_envs = 1 is not a multiple of slots = 128"):
        gymnasium.make_vec(number)
    env = gymnasium.make(number, slot=2, **ALONE)
    assert type(env.unwrapped) is SingleAgentEnv and env.unwrapped.slot == 2
    seen, _ = env.reset(seed=1)
    assert seen in env.observation_space


def test_gymnasium_vectorizes_single_agents():
    """Each sub-environment then has a world of its own, in which it controls one agent."""
    envs = gymnasium.make_vec("nmmo_gpu/Chaos-v0", num_envs=3, vectorization_mode="sync", **ALONE)
    seen, _ = envs.reset(seed=1)
    assert seen in envs.observation_space and len({seen["self"][i].tobytes() for i in range(3)}) > 1
    for _ in range(20):
        envs.step(envs.action_space.sample())


def test_only_the_adapter_import_registers_environments():
    """The module can be part of the environment's name. Importing the package alone does not import
    Gymnasium."""
    program = """
import sys, nmmo_gpu
assert "gymnasium" not in sys.modules
import gymnasium
assert not any(name.startswith("nmmo_gpu/") for name in gymnasium.registry)
envs = gymnasium.make_vec("nmmo_gpu.adapters.gymnasium:nmmo_gpu/Law-v0", num_envs=256, device="cpu")
print(*(name for name in gymnasium.registry if name.startswith("nmmo_gpu/")), envs.num_envs)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert out.stdout.split() == ["nmmo_gpu/Law-v0", "nmmo_gpu/Chaos-v0", "nmmo_gpu/Full-v0", "256"], (
        out.stderr
    )


# ----------------------------------------------------------------------------------------------- single agent


@pytest.mark.parametrize("name", PRESETS)
def test_the_checkers_of_gymnasium_and_sb3_pass(name):
    """Gymnasium's checker does not warn. SB3's checker warns of 2-D boxes (the table and the windows), which
    SB3's MultiInputPolicy flattens."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gymnasium.make(f"nmmo_gpu/{name.capitalize()}-v0", **ALONE)
        check_env(env.unwrapped)
    assert [str(warning.message) for warning in caught] == []
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sb3.check_env(env)
    tables = {part for part, space in env.observation_space.items()
              if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 2}  # fmt: skip
    messages = [str(warning.message) for warning in caught]
    assert {message.split()[2] for message in messages} == tables and len(messages) == len(tables)
    assert all("has an unconventional shape" in message for message in messages)


def test_sb3_learns_from_a_single_agent():
    ppo = pytest.importorskip("stable_baselines3").PPO
    env = gymnasium.make("nmmo_gpu/Full-v0", **ALONE)
    model = ppo("MultiInputPolicy", env, n_steps=12, batch_size=6, n_epochs=1, device="cpu")
    assert model.learn(24).num_timesteps == 24


def still(env):
    return torch.zeros(1, env.config.world.slots, len(env.action_heads), dtype=torch.int64)


def test_one_slot_is_controlled_and_a_policy_controls_the_others():
    """The world is that of a native environment with the same actions."""
    ticks, always = [], torch.ones(1, 9, 3, dtype=torch.int64)

    def others(env):
        ticks.append(int(env.world.tick))
        return always

    env = SingleAgentEnv("chaos", **ALONE, slot=4, others=others)
    native = make("chaos", realms=1, **ALONE)
    seen, info = env.reset()
    truth = native.reset()
    while not truth["alive"][0, 4]:
        truth, *_ = native.step(still(native) + 1)
    env.action_space.seed(3)
    for _ in range(60):
        assert all(np.array_equal(seen[part], view[0, 4].numpy()) for part, view in truth.items())
        assert info["entity"] == int(native.world.entity[0, 4])
        action = env.action_space.sample()
        actions = still(native) + 1
        actions[0, 4] = torch.tensor(action)
        truth, reward, died, *_ = native.step(actions)
        seen, paid, terminated, truncated, info = env.step(action)
        assert (paid, terminated, truncated) == (float(reward[0, 4]), bool(died[0, 4]), False)
        assert info["lifetime"] == int(native.world.age[0, 4])
        if terminated:
            break
    assert terminated and info["cause"] > 0 and nothing(seen, ()) and seen in env.observation_space
    assert ticks == list(range(1, 1 + len(ticks))) and (always == 1).all(), "the policy's actions are kept"


def test_after_a_death_reset_returns_the_slots_next_agent_in_the_same_world():
    env = SingleAgentEnv("chaos", **ALONE, slot=1)
    _, info = env.reset(seed=6)
    entities, world = [info["entity"]], env.native.world
    for _ in range(4):
        terminated, paid, steps = False, 0.0, 0
        while not terminated:
            _, reward, terminated, _, info = env.step(env.action_space.sample())
            paid, steps = paid + reward, steps + 1
        assert info["lifetime"] == steps == paid + 1, "an episode is one agent's life"
        with pytest.raises(UsageError, match=r"the agent is dead; call reset\(\)"):
            env.step(env.action_space.sample())
        seen, info = env.reset()
        assert env.native.world is world and seen["alive"] and info["lifetime"] == 1 and info["cause"] == 0
        entities.append(info["entity"])
    assert sorted(set(entities)) == entities
    env.reset(seed=6)
    assert env.native.world is not world


def test_a_truncated_agent_lives_on_after_reset():
    """A time limit does not kill the agent."""
    env = gymnasium.make("nmmo_gpu/Law-v0", max_episode_steps=3, others=still, **ALONE)
    _, info = env.reset()
    entity, tick = info["entity"], int(env.unwrapped.native.world.tick)
    for episode in range(1, 4):
        for _ in range(3):
            seen, _, terminated, truncated, info = env.step(np.zeros(3, np.int64))
        assert truncated and not terminated
        again, again_info = env.reset()
        assert same(again, seen) and again_info == info and info["entity"] == entity
        assert int(env.unwrapped.native.world.tick) == tick + 3 * episode


def test_returned_values_of_a_single_agent_are_not_overwritten():
    env = SingleAgentEnv("law", **ALONE, others=still)
    held = [env.reset()[0]]
    copies = [own(held[0])]
    for _ in range(4):
        held.append(env.step(np.zeros(3, np.int64))[0])
        copies.append(own(held[-1]))
    assert all(same(seen, copy) for seen, copy in zip(held, copies, strict=True))
    assert not same(held[0], held[-1])


def test_reset_fails_if_no_agent_is_born(monkeypatch):
    monkeypatch.setattr(adapter, "MAX_WAIT_TICKS", 3)
    settings = {**ALONE, "births": 1}
    with pytest.raises(UsageError, match=r"no agent spawned in slot \d within 3 ticks; choose more births"):
        for slot in range(9):
            SingleAgentEnv("law", slot=slot, **settings).reset()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"births": 0}, "with births = 0 no agent spawns"),
        ({"realms": 2}, "realms = 2: one agent lives in one realm"),
        ({"slot": 9}, "slot = 9 is out of range; choose an integer from 0 to 8"),
        ({"slot": -1}, "slot = -1 is out of range"),
        ({"device": "nonsense"}, "device = 'nonsense' is not a device"),
    ],
)
def test_impossible_single_agent_settings_are_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        SingleAgentEnv("chaos", **{**ALONE, **settings})


def test_a_single_agent_environment_takes_a_config():
    config = EnvConfig(world=preset("chaos", **ODD, slots=9, populations=3), realms=1, device="cpu", seed=4)
    assert SingleAgentEnv(config).config is config
    with pytest.raises(ConfigError, match="realms = 64: one agent"):
        SingleAgentEnv(EnvConfig(world=config.world))


@pytest.mark.parametrize("action", [[5, 0, 0], [0, 0], [0.0, 0.0, 0.0], 3, [0, 0, -1]])
def test_an_action_outside_the_space_is_refused(action):
    env = SingleAgentEnv("chaos", **ALONE)
    env.reset()
    digest = env.native.world.digest()
    with pytest.raises(ActionError, match=r"action = .* is not in MultiDiscrete"):
        env.step(action)
    assert env.native.world.digest() == digest
    env.step([0, 2, 0])
