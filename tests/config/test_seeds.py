"""Seeds at the ends of their range, and seeds that are derived from them."""

from __future__ import annotations

import numpy as np
import pytest
from train.small import small

from nmmo_gpu import make
from nmmo_gpu.config.seeds import MAX_SEED, MIN_SEED, offset_seed
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.evaluate import as_v1_ran, evaluate
from nmmo_gpu.train.run import Run
from nmmo_gpu.world.terrain import generate

EDGES = (MAX_SEED, MAX_SEED - 1, MIN_SEED, -1)
TINY = {"slots": 8, "populations": 2, "height": 40, "width": 40, "device": "cpu", "births": -1}


@pytest.mark.parametrize(
    ("seed", "offset", "result"),
    [
        (0, 5, 5),
        (MAX_SEED, 1, MIN_SEED),
        (MAX_SEED, 1_000_003, MIN_SEED + 1_000_002),
        (-1, 1, 0),
        (-5, 2, -3),
    ],
)
def test_a_derived_seed_wraps(seed, offset, result):
    assert offset_seed(seed, offset) == result


@pytest.mark.parametrize("seed", EDGES)
def test_a_run_with_any_seed_is_trained_and_evaluated(seed):
    config = small(seed=seed)
    Run(config).iterate()
    held_out = as_v1_ran(config.env, realms=1)
    assert held_out.seed == offset_seed(seed, 1_000_003) != seed
    assert evaluate(held_out, max_ticks=np.int64(4), warmup=np.int64(2)).ticks == 2


@pytest.mark.parametrize("seed", EDGES)
def test_maps_of_numpys_seeds_are_those_of_the_same_integers(seed):
    made = generate(np.int64(seed), np.int64(1), np.int32(40), 40, border=np.int8(7))
    assert made.equal(generate(seed, 1, 40, 40, border=7))


@pytest.mark.parametrize(
    "values", [{"max_ticks": 2.0}, {"warmup": 0}, {"warmup": "3"}, {"shortest": -1}, {"max_ticks": None}]
)
def test_evaluate_refuses_what_is_no_number_of_ticks(values):
    (name,) = values
    with pytest.raises(ConfigError, match=f"{name} = .*; choose an integer of at least"):
        evaluate(small().env, **values)


def test_pettingzoo_resets_at_the_largest_seed():
    pettingzoo = pytest.importorskip("nmmo_gpu.adapters.pettingzoo")
    env = pettingzoo.ParallelEnv("chaos", seed=MAX_SEED, **TINY)
    env.reset()
    env.reset()
    assert env.native.config.seed == MIN_SEED
    env.reset(seed=np.int64(5))
    assert env.native.config.seed == 5 and type(env.native.config.seed) is int
    for seed in (1.5, "1", MAX_SEED + 1):
        with pytest.raises(ConfigError, match=r"seed = .*choose an integer"):
            env.reset(seed=seed)


def test_gymnasium_resets_at_the_largest_seed():
    adapters = pytest.importorskip("nmmo_gpu.adapters.gymnasium")
    single = adapters.SingleAgentEnv("chaos", slot=np.int64(1), seed=MAX_SEED, **TINY)
    vector = adapters.VectorEnv("chaos", num_envs=np.int64(16), seed=MAX_SEED, **TINY)
    for env in (single, vector):
        for seed in (None, None, np.int64(MAX_SEED), MAX_SEED, None):
            env.reset(seed=seed)
        for seed in (-1, 1.0, MAX_SEED + 1):
            with pytest.raises(ConfigError, match=r"seed = .*choose an integer"):
                env.reset(seed=seed)
    with pytest.raises(ConfigError, match=r"slot = 1\.5 is not an integer"):
        adapters.SingleAgentEnv("chaos", slot=1.5, **TINY)


def test_torchrl_resets_at_the_largest_seed():
    torchrl = pytest.importorskip("nmmo_gpu.adapters.torchrl")
    env = torchrl.TorchRLEnv("chaos", realms=1, seed=MAX_SEED, **TINY)
    env.reset()
    env.reset()
    assert env.native.config.seed == MIN_SEED
    env._set_seed(np.int64(7))
    env.reset()
    assert env.native.config.seed == 7


def test_the_largest_seed_is_a_world_of_its_own():
    digests = []
    for seed in EDGES:
        env = make("chaos", realms=1, seed=seed, **TINY)
        assert isinstance(env, Env)
        env.reset()
        digests.append(env.world.digest())
    assert len(set(digests)) == len(EDGES)
