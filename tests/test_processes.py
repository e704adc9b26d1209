"""Environments and runs in other processes, and their copies."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest
import torch
from support.playing import digest_after, in_a_fork, send_digest
from support.systems import Flags, paid_twice
from train.small import FULL, assert_equal_states, small

from nmmo_gpu.env import Env
from nmmo_gpu.errors import UsageError
from nmmo_gpu.train.run import Run

GAMES = {
    "chaos": {"births": -1, "shared_map": True, "reward_tile": 0.5}, "full": {**FULL, "births": -1},
    "systems": {"systems": (Flags(pay=0.25),), "births": -1, "reward": paid_twice},
}  # fmt: skip
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


@pytest.mark.parametrize("game", ["full", "systems"])
def test_a_spawned_process_continues_an_environment(game):
    env = begun(**GAMES[game])
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


SCRIPT = """
import multiprocessing
from dataclasses import dataclass
import nmmo_gpu
from nmmo_gpu.systems import ObservationSpec, System, phase

@dataclass(frozen=True)
class Thirst(System):
    more: int = 1

    @phase(after="upkeep")
    def drain(self, world):
        world.water.sub_(self.more).clamp_(min=0)

    def observation(self, config):
        return {"more": ObservationSpec("more", high=9)}

    def observe(self, world):
        return {"more": world.water.new_full((1, 1), self.more)}

def double(world, before):
    return world.agents(world.alive).float() * 2

def play(config, pipe):
    env = nmmo_gpu.Env(config)
    env.reset()
    for _ in range(4):
        _, reward, *_ = env.step(nmmo_gpu.random_actions(env))
    pipe.send((env.world.digest(), reward.sum().item(), config))

if __name__ == "__main__":
    config = nmmo_gpu.env.configure(
        "chaos", realms=2, slots=16, births=-1, device="cpu", systems=[Thirst(2)], reward=double
    )
    results = []
    for method in ("spawn", "forkserver"):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context(method).Process(target=play, args=(config, there))
        process.start()
        there.close()
        results.append(here.recv())
        process.join()
    here, there = multiprocessing.Pipe()
    play(config, there)
    results.append(here.recv())
    assert results[0] == results[1] == results[2], results
    print(results[0][2].world.systems, results[0][1] > 0)
"""


def test_a_system_of_a_script_reaches_processes_that_it_starts(tmp_path):
    """Its class and reward are in the script itself, ``__main__``."""
    (tmp_path / "thirsty.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "thirsty.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(Thirst(more=2),) True"


@pytest.mark.parametrize("how", COPIES)
def test_a_config_is_copied_with_its_systems(how):
    config = small(**GAMES["systems"])
    twin = COPIES[how](config)
    assert twin == config and hash(twin.env.world) == hash(config.env.world)
    assert twin.env.world.systems == (Flags(pay=0.25),) and twin.env.reward.function is paid_twice


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
