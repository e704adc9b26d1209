"""Environments and runs in other processes, and their copies."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle

import pytest
import torch
from support.playing import digest_after, in_a_fork, send_digest
from train.small import FULL, assert_equal_states, small

from nmmo_gpu.env import Env
from nmmo_gpu.errors import UsageError
from nmmo_gpu.train.run import Run

GAMES = {"chaos": {"births": -1, "shared_map": True, "reward_tile": 0.5}, "full": {**FULL, "births": -1}}
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def begun(**settings):
    env = Env(small(**settings).env)
    env.reset()
    digest_after(env)
    return env


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@forks
@pytest.mark.parametrize("game", GAMES)
def test_a_forked_process_steps_what_its_parent_has_stepped(backend, game, two_threads):
    # Large enough for several threads, in torch and in the compiled loops.
    env = begun(**GAMES[game], realms=16, slots=64, backend=backend.name)
    assert in_a_fork(lambda: digest_after(env)) == digest_after(env)


@forks
def test_a_forked_process_makes_and_trains_its_own(two_threads):
    config = small(realms=16, slots=64, hidden=64, horizon=16)
    Run(config).iterate()

    def train():
        assert torch.get_num_threads() == 1  # those of the parent do not exist
        run = Run(config)
        run.iterate()
        return run.god.env.world.digest()

    assert in_a_fork(train) == train_alone(config)


def train_alone(config):
    torch.set_num_threads(1)
    run = Run(config)
    run.iterate()
    return run.god.env.world.digest()


def test_a_spawned_process_continues_an_environment():
    env = begun(**GAMES["full"])
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=send_digest, args=(env, there))
    process.start()
    there.close()
    assert here.recv() == digest_after(env)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_an_environment_plays_the_same_and_apart(backend, game, how):
    env = begun(**GAMES[game], backend=backend.name)
    twin = COPIES[how](env)
    before = env.world.digest()
    played = digest_after(twin)
    assert env.world.digest() == before != played
    assert digest_after(env) == played
    assert torch.equal(env.records, twin.records)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_policy_has_the_same_weights(how):
    policy = Run(small(**FULL, recurrent=True)).sword.policy
    assert_equal_states(policy.state_dict(), COPIES[how](policy).state_dict())


@pytest.mark.parametrize("how", [copy.copy, *COPIES.values()])
def test_a_run_is_not_copied(how):
    run = Run(small())
    for part in (run, run.god, run.pantheon):
        with pytest.raises(UsageError, match=f"a {type(part).__name__} cannot be copied .* checkpoint"):
            how(part)
