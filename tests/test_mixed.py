"""Policies mixed by population, and the names that the package exports."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from train.small import FULL, small

import nmmo_gpu
from nmmo_gpu import Mixed, random_actions, scripted
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ActionError, ConfigError


def begun(**settings):
    """Returns an environment of 4 populations with full slots."""
    env = Env(small(**{"populations": 4, "births": -1, **settings}).env)
    env.reset()
    return env


def constant(value, calls=None):
    """Returns a policy whose actions are all ``value``; it appends the tick to ``calls``."""

    def policy(env):
        if calls is not None:
            calls.append(int(env.world.tick))
        shape = env.config.realms, env.config.world.slots, len(env.action_heads)
        return torch.full(shape, value, dtype=torch.int64)

    return policy


@pytest.mark.parametrize("settings", [{}, FULL], ids=["chaos", "full"])
def test_each_population_has_the_actions_of_its_policy(settings):
    """In every tick, with names and functions, numbers, tuples and ranges, and a default."""
    env = begun(**settings)
    mixed = Mixed({0: "forager", (2,): constant(1), range(3, 4): random_actions}, default="hunter")
    for _ in range(10):
        found = mixed(env)
        players = (scripted.forager, scripted.hunter, constant(1), random_actions)
        wanted = [player(env)[:, 4 * p : 4 * p + 4] for p, player in enumerate(players)]
        assert found.dtype == torch.int64 and torch.equal(found, torch.cat(wanted, 1))
        env.step(found)
    assert len({tuple(part.flatten().tolist()) for part in wanted}) == 4


def test_a_policy_of_several_populations_is_called_once():
    """Also if it is the default; one that plays no population is not called."""
    env, calls, idle = begun(), [], []
    policy = constant(0, calls)
    Mixed({0: policy, (1, 3): policy}, default=policy)(env)
    assert calls == [1]
    Mixed({range(4): policy}, default=constant(0, idle))(env)
    assert calls == [1, 1] and idle == []


def test_mixes_can_be_mixed():
    """A mix is a function of an environment like any other policy."""
    env = begun()
    inner = Mixed({0: "hunter"}, default=constant(2))
    found = Mixed({(0, 1): inner}, default=constant(1))(env)
    assert torch.equal(found[:, :4], scripted.hunter(env)[:, :4])
    assert (found[:, 4:8] == 2).all() and (found[:, 8:] == 1).all()


@pytest.mark.parametrize(("policies", "message"), [
    ({0: "gatherer"}, "'gatherer' is not a policy.*random, forager, hunter"),
    ({0: 3}, "3 is not a policy"),
    ({-1: "random"}, "population = -1 is out of range"),
    ({(0, "1"): "random"}, "population = '1'"),
    ({True: "random"}, "population = True"),
    ({(0, 1): "random", 1: "hunter"}, "population 1 has two policies"),
])  # fmt: skip
def test_impossible_mixes_are_refused(policies, message):
    """Before they are used."""
    with pytest.raises(ConfigError, match=message):
        Mixed(policies, default="random")


def test_mixes_that_do_not_fit_an_environment_are_refused():
    """Populations that it does not have, and populations without a policy; no policy is called."""
    env, calls = begun(), []
    policy = constant(0, calls)
    with pytest.raises(ConfigError, match="population = 4 does not exist here; choose from 0 to 3"):
        Mixed({4: policy}, default=policy)(env)
    with pytest.raises(ConfigError, match="the populations 1, 3 have no policy; .* default"):
        Mixed({(0, 2): policy})(env)
    assert calls == []


@pytest.mark.parametrize("returned", [
    lambda env: torch.zeros(2, 16, 1, dtype=torch.int64),
    lambda env: torch.zeros(2, 16, 3),
    lambda env: torch.zeros(2, 16, 3, dtype=torch.int64, device="meta"),
    lambda env: [0, 0, 0],
])  # fmt: skip
def test_wrong_actions_name_the_population(returned):
    """They would be broadcast or rounded otherwise."""
    with pytest.raises(ActionError, match=r"population 2 returned .* return integers \(2, 16, 3\) on cpu"):
        Mixed({2: returned}, default="random")(begun())


LAZY = """
import sys
import nmmo_gpu
assert {"load_policy", "TrainedPolicy", "Mixed"} <= set(nmmo_gpu.__all__) <= set(dir(nmmo_gpu))
assert not [name for name in sys.modules if name.startswith("nmmo_gpu.train")]
from nmmo_gpu.train import trained_policy
assert nmmo_gpu.load_policy is trained_policy.load_policy
assert nmmo_gpu.TrainedPolicy is trained_policy.TrainedPolicy
"""


def test_the_trainer_is_imported_when_it_is_needed():
    """The package alone does not import it; its functions can be used nevertheless."""
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'load_polcy'"):
        getattr(nmmo_gpu, "load_polcy")  # noqa: B009
