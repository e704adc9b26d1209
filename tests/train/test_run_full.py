"""Training in the full game from end to end on all backends."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import CPU, FULL, assert_equal_states, reloaded, shout, small, state_of

from nmmo_gpu.env import Env
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.evaluate import evaluate, policy_actor
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.world.actions import action_heads


def full(**settings):
    """Returns a config of the full game in which agents crowd, die and are born within the few ticks of a
    test."""
    crowd = {**FULL, "births": -1, "immune_ticks": 2, "minibatches": 1}
    return small(**{**crowd, **settings})


def run_of(config, backend, device="cpu"):
    """A run with scaled-up heads."""
    env = dataclasses.replace(config.env, backend=backend, device=device)
    run = Run(dataclasses.replace(config, env=env))
    shout(run.sword.policy, 30.0)
    return run


def iterate(run):
    """The stats of one iteration."""
    (stats,) = run.iterate() + run.synchronize()
    return stats


def assert_alike(first, second):
    """Worlds, records and choices are equal, and weights are equal up to rounding."""
    assert second.god.env.world.digest() == first.god.env.world.digest()
    for name in ("records", "alive", "choices", "reward", "died"):
        one, other = getattr(first.god.rollout, name), getattr(second.god.rollout, name).cpu()
        assert torch.equal(one, other), name
    assert torch.equal(first.god.visits, second.god.visits.cpu())
    weights = dict(second.sword.policy.named_parameters())
    for name, weight in first.sword.policy.named_parameters():
        other = weights[name].detach().cpu()
        torch.testing.assert_close(other, weight.detach(), rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize(("recurrent", "targeting"), [(False, "learned"), (True, "auto")])
def test_torch_and_numba_agree_over_two_iterations(recurrent, targeting):
    """They play the same worlds and learn the same. Every weight changes, all heads choose, goods change
    hands, and levels are visible."""
    pytest.importorskip("numba")
    config = full(recurrent=recurrent, targeting=targeting, horizon=12)
    runs = [run_of(config, backend) for backend in ("torch", "numba")]
    start = {name: weight.detach().clone() for name, weight in runs[0].sword.policy.named_parameters()}
    for _ in range(2):
        first, second = (iterate(run) for run in runs)
        assert first.steps == second.steps > 100
        for name, values in first.statistics.items():
            torch.testing.assert_close(second.statistics[name], values, rtol=1e-3, atol=1e-4)
        assert_alike(*runs)
    for name, weight in runs[1].sword.policy.named_parameters():
        assert weight.isfinite().all() and not torch.equal(weight, start[name]), name
    rollout = runs[0].god.rollout
    assert rollout.choices.shape[-1] == 7 and (rollout.choices.view(-1, 7).amax(0) > 0).all()
    world = runs[0].god.env.world
    assert world.offer.any() and world.dead_totals.any()
    assert not rollout.log_probability[~rollout.alive].any()


@pytest.mark.parametrize("targeting", ["learned", "auto"])
def test_the_kernels_agree_with_torch_over_an_iteration(targeting):
    """They play the same world and learn the same."""
    pytest.importorskip("triton")
    config = full(
        targeting=targeting, realms=1, height=33, width=33, border=7, slots=8, npc_numbers=(3, 3, 2),
        nearest=5, horizon=3,
    )  # fmt: skip
    runs = [run_of(config, "torch"), run_of(config, "triton", KERNEL_DEVICE.type)]
    first, second = (iterate(run) for run in runs)
    assert runs[1].sword.training_backend.static_shapes and first.steps == second.steps > 10
    for name, values in first.statistics.items():
        torch.testing.assert_close(second.statistics[name].cpu(), values, rtol=1e-3, atol=1e-4)
    assert_alike(*runs)


def test_a_checkpoint_resumes(tmp_path):
    """Saved and loaded, the next iteration is identical."""
    config = full(targeting="learned", iterations=9, backend="auto")
    run = Run(config)
    iterate(run)
    stored = reloaded(run, tmp_path / checkpoints.FILE)
    again = Run(stored.config, stored)
    assert_equal_states(state_of(again), state_of(run))
    for one in (run, again):
        iterate(one)
    assert_equal_states(state_of(again), state_of(run))


def test_a_stored_policy_plays():
    """A checkpoint's policies act in another world of the full game, recurrent ones with their state."""
    config = full(recurrent=True, targeting="learned", backend="auto")
    run = Run(config)
    iterate(run)
    found = evaluate(dataclasses.replace(config.env, seed=9), policy_actor(run.checkpoint()), 40, warmup=8)
    assert found.ticks > 0 and found.summary["agent_steps"] > 100


def test_visits_count_agents_only():
    """The map of visits excludes NPCs."""
    config = full(slots=4, populations=2, npc_numbers=(30, 30, 9), npc_births=1.0, horizon=2)
    run = Run(config)
    iterate(run)
    world = run.god.env.world
    assert int(world.alive.sum()) > 60
    assert int(run.god.visits.sum()) == int(world.agents(world.alive).sum()) <= 8


def test_preset_full_learns_targeting():
    """It also has a head for everything; the other presets have not changed."""
    for scale in ("laptop", "gpu"):
        config = train_preset("full", scale)
        assert config.policy.targeting == "learned" and config.run == "runs/full"
        assert len(action_heads(config.env.world)) == 7
        chaos = train_preset("chaos", scale)
        assert chaos.policy.targeting == "auto"
        assert dataclasses.replace(config.policy, targeting="auto") == chaos.policy


def test_environment_and_sword_agree_on_the_heads():
    """By name and in order."""
    config = full()
    assert (
        tuple(Env(config.env).action_heads)
        == Sword(config, CPU).action_heads
        == tuple(action_heads(config.env.world))
    )
