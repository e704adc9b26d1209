"""The PettingZoo environment passes PettingZoo's own tests and matches the native environment."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from support.helpers import ODD

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ActionError, ConfigError, UsageError
from nmmo_gpu.replay.picture import draw_realm

pytest.importorskip("pettingzoo")

from gymnasium.utils.env_checker import data_equivalence
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils import parallel_to_aec

from nmmo_gpu.adapters.pettingzoo import ParallelEnv

CROWD = {**ODD, "slots": 14, "populations": 7, "births": -1, "device": "cpu", "backend": "torch"}
FULL = {**CROWD, "npc_numbers": (3, 2, 1)}
NO_LIST = "does not have possible_agents defined"


def crowd(preset="chaos", **settings):
    return ParallelEnv(preset, **{**(FULL if preset == "full" else CROWD), **settings})


def sampled(env):
    return {agent: env.action_space(agent).sample() for agent in env.agents}


def living(native):
    """Returns a dict from the expected name of each living agent to its slot."""
    world = native.world
    slots = world.agents(world.alive)[0].nonzero().flatten().tolist()
    return {f"agent_{world.entity[0, slot]}": slot for slot in slots}


def warned(run):
    """Runs a function and returns the texts of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught]


# ------------------------------------------------------------------------------------- PettingZoo's own tests


@pytest.mark.parametrize("preset", ["law", "chaos", "full"])
def test_the_parallel_api_test_passes_with_one_warning(capsys, preset):
    """The one warning is that possible_agents is missing, as in every environment with generated agents."""
    (only,) = warned(lambda: parallel_api_test(crowd(preset), num_cycles=60))
    assert NO_LIST in only
    assert "Passed Parallel API test" in capsys.readouterr().out


def test_without_last_observations_the_api_test_warns_once_per_death(capsys):
    """PettingZoo tolerates v1's convention of giving no observation at death."""
    found = warned(lambda: parallel_api_test(crowd(observe_death=False), num_cycles=60))
    assert NO_LIST in found[0] and set(found[1:]) == {"Live agent was not given observation"}
    assert "Passed Parallel API test" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["chaos", "full"])
def test_the_parallel_seed_test_passes(preset):
    """PettingZoo's test stops after one step, so the same comparison is repeated over many steps with births
    and deaths. The seed also determines the sampled actions of newborns."""
    parallel_seed_test(lambda: crowd(preset))
    one, two = crowd(preset), crowd(preset)
    names = set()
    for env in (one, two):
        env.reset(seed=42)
        env.action_space(env.agents[0]).seed(5)
    for _ in range(40):
        steps = [env.step(sampled(env)) for env in (one, two)]
        assert data_equivalence(*steps)
        names |= set(one.agents)
    assert len(names) > 2 * one.max_num_agents


def test_the_conversion_to_aec_passes_the_api_test(capsys):
    """The conversion needs the last observations of dying agents."""
    api_test(parallel_to_aec(crowd()), num_cycles=30)
    assert "Passed API test" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ births and deaths


@pytest.mark.parametrize(("preset", "ticks"), [("chaos", 120), ("full", 110)])
def test_it_matches_the_native_environment_and_no_name_returns(preset, ticks):
    """In every tick, observations, rewards, terminations and infos equal those of a native environment with
    the same actions. The keys are the agents that lived before or after the step, no name is used twice, and
    observations are in their space."""
    env = crowd(preset, slots=7, births=2, seed=11)
    native = Env(env.native.config)
    env.reset()
    native.reset()
    seen, gone, largest = set(env.agents), set(), 0
    space = env.observation_space("anybody")
    for tick in range(ticks):
        slots = living(native)
        assert env.agents == list(slots)
        before, actions = set(slots), random_actions(native)
        step = env.step({agent: actions[0, slot].numpy() for agent, slot in slots.items()})
        obs, rewards, terminated, truncated, infos = step
        expected, reward, died, _, info = native.step(actions)
        slots |= living(native)
        assert all(one.keys() == slots.keys() for one in step)
        assert set(env.agents) == {agent for agent in slots if not terminated[agent]}
        assert not any(truncated.values())
        newborn = set(slots) - before
        assert not newborn & seen, "a newborn has a used name"
        seen |= newborn
        assert not gone & set(slots), "a dead agent is listed again"
        gone |= {agent for agent in slots if terminated[agent]}
        largest = max(largest, len(slots))
        for agent, slot in slots.items():
            assert terminated[agent] == bool(died[0, slot]) and rewards[agent] == float(reward[0, slot])
            assert infos[agent]["entity"] == int(info["entity"][0, slot]) == int(agent.removeprefix("agent_"))
            assert infos[agent]["lifetime"] == int(info["lifetime"][0, slot])
            assert infos[agent]["explored"] == int(info["explored"][0, slot])
            assert infos[agent]["population"] == slot // native.config.world.population_size
            assert (infos[agent]["cause"] != "none") == terminated[agent]
            for name, field in obs[agent].items():
                assert np.array_equal(field, expected[name][0, slot].numpy()), name
            assert tick % 20 or space.contains(obs[agent])
    assert len(gone) > 4 * largest


def test_a_dead_agent_gets_zeros_and_its_cause_once():
    """With v1's convention the observation is missing, and all else is equal."""
    env, v1 = crowd(seed=3), crowd(seed=3, observe_death=False)
    deaths = 0
    for world in (env, v1):
        world.reset()
    for _ in range(60):
        actions = {agent: np.array([1, 0, 0]) for agent in env.agents}
        obs, rewards, terminated, _, infos = env.step(actions)
        v1_obs, *v1_rest = v1.step(actions)
        dying = {agent for agent in terminated if terminated[agent]}
        for agent in dying:
            assert not any(field.any() for field in obs[agent].values())
            assert infos[agent]["cause"] in ("lava", "hunger", "thirst", "combat") and rewards[agent] == 0
        assert all(obs[agent]["alive"] == 1 for agent in obs if agent not in dying)
        assert set(v1_obs) == set(obs) - dying == set(env.agents)
        assert v1_rest[1] == terminated and v1_rest[3] == infos
        deaths += len(dying)
    assert deaths > 20


def test_observations_are_not_overwritten_or_shared():
    """They keep their values during later steps, and writing into one changes no other."""
    env = crowd(seed=5)
    kept, _ = env.reset()
    copies = {agent: {name: field.copy() for name, field in fields.items()} for agent, fields in kept.items()}
    for _ in range(12):
        env.step(sampled(env))
    assert data_equivalence(kept, copies)
    first, *others = kept
    for field in kept[first].values():
        field[...] = 1
    assert data_equivalence({a: kept[a] for a in others}, {a: copies[a] for a in others})


def test_an_agent_without_an_action_idles():
    """The result is the same as with the action to stay and to attack no agent."""
    given, left_out = crowd(seed=2), crowd(seed=2)
    for env in (given, left_out):
        env.reset()
    for tick in range(30):
        actions = sampled(given)
        idle = list(actions)[tick % 3 :: 3]
        given.step(actions | dict.fromkeys(idle, np.zeros(3, np.int64)))
        left_out.step({agent: action for agent, action in actions.items() if agent not in idle})
        assert given.native.world.digest() == left_out.native.world.digest()


def test_a_world_without_living_agents_continues():
    """The agent of the only slot walks into lava; for at least one tick no agent lives, then another one is
    born."""
    env = crowd(slots=1, populations=1, births=1)
    env.reset()
    names, empty = list(env.agents), 0
    for _ in range(60):
        env.step({agent: np.array([1, 0, 0]) for agent in env.agents})
        empty += not env.agents
        names += [agent for agent in env.agents if agent not in names]
    assert empty and len(names) > 2 and env.max_num_agents == 1


# ------------------------------------------------------------------------------------------ worlds and spaces


def test_each_reset_begins_a_new_world():
    """The first reset uses the config's seed, later ones use the next seeds, and a given seed is used as it
    is."""
    env = crowd(seed=7)

    def digest(**seed):
        env.reset(**seed)
        env.step({})
        return env.native.world.digest()

    found = [digest() for _ in range(3)]
    assert len(set(found)) == 3
    assert [digest(seed=np.int64(seed)) for seed in (7, 8, 9)] == found
    assert digest(seed=8, options={"ignored": 1}) == found[1] and digest() == found[2]
    env.reset()
    assert env.agents == [f"agent_{n}" for n in range(len(env.agents))], "names start at 0 again"


def test_a_config_can_replace_the_preset():
    """Fields can be replaced in addition."""
    world_config = {name: CROWD[name] for name in (*ODD, "slots", "populations", "births")}
    config = EnvConfig(world=preset("chaos", **world_config), realms=1, device="cpu", backend="torch", seed=4)
    worlds = [ParallelEnv(config), ParallelEnv(config, seed=5), crowd(seed=4), crowd(seed=5)]
    for env in worlds:
        env.reset()
    digests = [env.native.world.digest() for env in worlds]
    assert digests[0] == digests[2] != digests[1] == digests[3]


@pytest.mark.parametrize("make", [lambda: crowd(realms=2), lambda: ParallelEnv(EnvConfig())])
def test_several_realms_are_refused(make):
    with pytest.raises(
        ConfigError, match=r"realms = (2|64): .*choose realms = 1 and one ParallelEnv for each"
    ):
        make()


def test_spaces_are_shared_and_hold_all_values():
    env = crowd("full")
    env.reset()
    assert env.observation_space("agent_0") is env.observation_space("agent_999999")
    assert env.action_space("agent_0") is env.action_space("agent_999999")
    assert set(env.observation_space("agent_0")) == set(env.native.layout.fields)
    assert tuple(env.action_space("agent_0").nvec) == env.native.action_sizes


def test_possible_agents_is_not_defined():
    env = crowd()
    assert not hasattr(env, "possible_agents")
    with pytest.raises(AttributeError, match="endless"):
        _ = env.possible_agents
    assert env.max_num_agents == 14 and env.agents == []


def test_render_returns_an_image():
    env = crowd(render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert picture.shape == (330, 470, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture, np.array(draw_realm(env.native.world)))
    with pytest.raises(UsageError, match='render_mode="rgb_array"'):
        crowd().render()
    with pytest.raises(ConfigError, match="render_mode = 'human' is unknown"):
        crowd(render_mode="human")


# --------------------------------------------------------------------------------------------- invalid calls


def test_step_before_reset_is_refused():
    with pytest.raises(UsageError, match=r"call env\.reset\(\) first"):
        crowd().step({})


def test_actions_of_dead_and_unknown_agents_are_refused():
    env = crowd(seed=3)
    env.reset()
    dead = set()
    while not dead:
        _, _, terminated, _, _ = env.step({agent: np.array([1, 0, 0]) for agent in env.agents})
        dead = {agent for agent in terminated if terminated[agent]}
    digest = env.native.world.digest()
    for name in (dead.pop(), "agent_99999", "agent_-1", 0):
        with pytest.raises(ActionError, match="no living agent has this name; choose from env.agents"):
            env.step({env.agents[0]: np.zeros(3, int), name: np.zeros(3, int)})
    assert env.native.world.digest() == digest


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0, 0], r"has shape \(2,\) .*give 3 integers: move, style, target"),
        ([[0, 0, 0]], r"has shape \(1, 3\)"),
        (3, r"has shape \(\)"),
        ([0.0, 0.0, 0.0], "dtype float64"),
        ([True, False, False], "dtype bool"),
        ([0, 3, 0], r"\[1\] \(style\) = 3 is out of range; choose a value from 0 to 2"),
        ([0, 0, -1], r"\[2\] \(target\) = -1 is out of range; choose a value from 0 to 8"),
        (np.array([5, 0, 0], np.uint64), r"\[0\] \(move\) = 5"),
    ],
)
def test_wrong_actions_are_refused_and_change_nothing(action, message):
    env = crowd()
    env.reset()
    digest, agent = env.native.world.digest(), env.agents[0]
    with pytest.raises(ActionError, match=rf"actions\['{agent}'\].*" + message):
        env.step({agent: action})
    assert env.native.world.digest() == digest
    env.step({agent: [0, 2, 8]})


def test_without_pettingzoo_the_error_names_the_extra():
    program = (
        "import sys, nmmo_gpu\n"
        "print({'pettingzoo', 'gymnasium'} & set(sys.modules))\n"
        "sys.modules['pettingzoo'] = None\n"
        "try: import nmmo_gpu.adapters.pettingzoo\n"
        "except ImportError as error: print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    imported, _, said = out.stdout.partition("\n")
    assert imported == "set()" and 'pip install "nmmo-gpu[adapters]"' in said
