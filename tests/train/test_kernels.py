"""The trainer on the kernels compared with the trainer in plain torch, from the first tick to the checkpoint.

The kernels run on the GPU if there is one, else under Triton's interpreter. Both do the same up to rounding:
worlds are equal as long as no draw is at a border between choices, and learning is equal where minibatches
are equal."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import assert_equal_states, reloaded, shout, small, state_of

pytest.importorskip("triton")

from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import ppo
from nmmo_gpu.train.ppo import SampleBatches, SequenceBatches
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import God, Sword


def on_kernels(config):
    """Returns the same settings for the kernels."""
    env = dataclasses.replace(config.env, backend="triton", device=KERNEL_DEVICE.type)
    return dataclasses.replace(config, env=env)


def in_torch(config):
    """Returns the same settings for plain torch on the CPU."""
    return dataclasses.replace(config, env=dataclasses.replace(config.env, backend="torch", device="cpu"))


def lively(**settings):
    """Returns a realm in which agents die and are born within the few ticks of a test. They learn in one
    minibatch, so that the assignment to minibatches does not matter. All sizes are small: an interpreted tick
    takes 0.1 s."""
    crowd = {
        "realms": 1, "slots": 26, "populations": 2, "vision": 3, "births": -1, "immune_ticks": 1,
        "max_food": 4, "max_water": 4, "max_health": 4, "horizon": 5, "minibatches": 1,
    }  # fmt: skip
    return small(**{**crowd, **settings})


def weights_of(run):
    """Returns copies of the weights on the CPU by name."""
    return {name: weight.detach().cpu() for name, weight in run.sword.policy.named_parameters()}


def assert_close_by_name(found, expected):
    """Compares tensors within the rounding that an update accumulates; steps of weights are a hundred times
    larger."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-4, atol=3e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


class Twins:
    """A run on the kernels and one in plain torch with equal settings."""

    def __init__(self, config):
        self.by_torch, self.by_kernels = Run(in_torch(config)), Run(on_kernels(config))
        assert (
            self.by_kernels.sword.training_backend.static_shapes
            and not self.by_torch.sword.training_backend.static_shapes
        )
        for run in (self.by_torch, self.by_kernels):
            shout(run.sword.policy, 30.0)

    def iterate(self):
        """Returns the statistics of both."""
        stats = [run.iterate() + run.synchronize() for run in (self.by_torch, self.by_kernels)]
        assert [len(received) for received in stats] == [1, 1]
        return [received[0] for received in stats]

    def assert_same_history(self):
        """Worlds are equal to the last bit, and the last rollouts up to rounding of probabilities and
        values."""
        assert self.by_kernels.god.env.world.digest() == self.by_torch.god.env.world.digest()
        by_torch, by_kernels = vars(self.by_torch.god.rollout), vars(self.by_kernels.god.rollout)
        for name, tensor in by_torch.items():
            if name in ("log_probability", "value", "state"):
                continue
            assert torch.equal(by_kernels[name].cpu(), tensor), name
        for name in ("log_probability", "value", "state"):
            if by_torch[name] is not None:
                torch.testing.assert_close(by_kernels[name].cpu(), by_torch[name], rtol=1e-4, atol=1e-4)
        assert torch.equal(self.by_kernels.god.visits.cpu(), self.by_torch.god.visits)
        for name, tensor in self.by_torch.god.tally.state().items():
            assert torch.equal(self.by_kernels.god.tally.state()[name].cpu(), tensor), name


@pytest.mark.parametrize(("recurrent", "targeting"), [(False, "learned"), (True, "auto")])
def test_two_iterations_match_plain_torch(recurrent, targeting):
    """The worlds of the first rollout and of the second, after an update, are equal to the last bit.
    Statistics and weights agree up to rounding, and every weight has changed."""
    twins = Twins(lively(recurrent=recurrent, targeting=targeting))
    start = {name: p.detach().clone() for name, p in twins.by_torch.sword.policy.named_parameters()}
    for _ in range(2):
        by_torch, by_kernels = twins.iterate()
        twins.assert_same_history()
        assert by_torch.steps == by_kernels.steps > 0
        assert_close_by_name(by_kernels.statistics, by_torch.statistics)
        for name, weight in twins.by_kernels.sword.policy.named_parameters():
            now = weight.detach().cpu()
            assert now.isfinite().all() and not torch.equal(now, start[name]), name
        assert_close_by_name(weights_of(twins.by_kernels), weights_of(twins.by_torch))
    rollout = twins.by_torch.god.rollout
    assert rollout.died.any() and (rollout.choices[..., 2] > 0).any() and not rollout.alive.all()


def test_minibatches_of_sequences_match():
    """A recurrent policy's columns are all slots in both trainers, so several minibatches and epochs
    agree."""
    twins = Twins(lively(recurrent=True, minibatches=3, epochs=2, horizon=3))
    by_torch, by_kernels = twins.iterate()
    assert_close_by_name(by_kernels.statistics, by_torch.statistics)
    assert (by_torch.statistics["kl"] > 1e-8).all() and by_torch.statistics["policy_loss"].all()


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_minibatches_of_samples_match(monkeypatch, targeting):
    """In columns of exactly the living agents, as in plain torch, several minibatches and epochs agree."""
    monkeypatch.setattr(ppo, "SHARES", 1 << 30)
    twins = Twins(lively(targeting=targeting, minibatches=3, epochs=2, births=1))
    by_torch, by_kernels = twins.iterate()
    assert not twins.by_torch.god.rollout.alive.all()
    assert_close_by_name(by_kernels.statistics, by_torch.statistics)
    assert_close_by_name(weights_of(twins.by_kernels), weights_of(twins.by_torch))
    assert (by_torch.statistics["kl"] > 1e-8).all() and by_torch.statistics["policy_loss"].all()


def test_an_update_takes_as_many_columns_as_it_needs():
    """While a world fills up, columns are multiples of an eighth of all samples, the fewest that hold the
    largest population's."""
    hardy = {"max_food": 30, "max_water": 30, "max_health": 30, "births": 2, "minibatches": 2}
    run = Run(on_kernels(lively(slots=48, populations=3, realms=2, horizon=2, **hardy)))
    needed = set()
    for _ in range(7):
        run.iterate()
        alive = run.god.rollout.alive.view(-1, 3, 16)
        living, samples = int(alive.sum((0, 2)).max()), alive.shape[0] * 16
        needed.add(next(k * samples // 8 for k in range(1, 9) if k * samples / 8 >= living))
        assert set(run.pantheon.updates) == needed
    assert len(needed) >= 3


def test_populations_of_one_slot():
    """Each agent uses the weights of its own population."""
    twins = Twins(lively(slots=5, populations=5, realms=2, horizon=3))
    twins.iterate()
    twins.assert_same_history()
    assert twins.by_torch.god.rollout.alive.any()


def test_the_same_seed_gives_the_same_bits():
    """Two runs on the kernels with two minibatches, bfloat16 and three layers have identical checkpoints. All
    weights are finite, changed and still float32."""
    config = on_kernels(lively(precision="bf16", layers=3, minibatches=2, hidden=16, horizon=3))
    states = []
    for _ in range(2):
        run = Run(config)
        start = {name: p.detach().clone() for name, p in run.sword.policy.named_parameters()}
        run.iterate()
        run.synchronize()
        states.append(state_of(run))
    assert_equal_states(*states)
    for name, before in start.items():
        now = run.sword.policy.get_parameter(name)
        assert now.dtype == torch.float32 and now.isfinite().all() and not torch.equal(now, before), name


@pytest.mark.parametrize(("recurrent", "targeting"), [(False, "auto"), (True, "learned")])
def test_unchanged_weights_reproduce_the_rollout(recurrent, targeting):
    """Log-probabilities and values are those of the rollout, including the recurrent state and its resets at
    death. Each row occurs once, and those of empty slots are marked."""
    config = on_kernels(lively(recurrent=recurrent, targeting=targeting))
    god = God(config, Sword(config, KERNEL_DEVICE))
    policy = god.sword.policy
    shout(policy)
    for _ in range(2):
        rollout = god.collect()
    assert (rollout.alive[2:] & rollout.died[:-2]).any(), "no newborn in the slot of a dead agent"
    kind = SequenceBatches if recurrent else SampleBatches
    batches = kind(policy, rollout, god.sword.training_backend)
    with torch.no_grad():
        evaluation, rows, valid = batches.evaluate_actions(
            torch.arange(batches.columns, device=KERNEL_DEVICE)
        )
    assert rows.view(-1).sort().values.tolist() == list(range(rollout.alive.numel()))
    assert torch.equal(valid, rollout.alive.view(-1)[rows])
    for found, recorded in (
        (evaluation.log_probability, rollout.log_probability), (evaluation.value, rollout.value[:-1]),
    ):  # fmt: skip
        expected = recorded.reshape(-1)[rows][valid]
        torch.testing.assert_close(found[valid], expected, rtol=0, atol=1e-5)
    assert (evaluation.entropy[valid] > 0).any() and evaluation.entropy.isfinite().all()
    assert not rollout.log_probability[~rollout.alive].any() and not rollout.value[:-1][~rollout.alive].any()


@pytest.mark.parametrize("first", ["kernels", "torch"])
def test_a_checkpoint_resumes_with_the_other_backend(first, tmp_path):
    """The next rollout is the one that the run which saved it would have played."""
    results = {"kernels": on_kernels, "torch": in_torch}
    here, there = results[first], results["torch" if first == "kernels" else "kernels"]
    config = lively(recurrent=True, targeting="learned", iterations=9, horizon=3)
    writer = Run(here(config))
    writer.iterate()
    writer.synchronize()
    stored = reloaded(writer, tmp_path / checkpoints.FILE)
    reader = Run(there(stored.config), stored)
    assert reader.sword.training_backend.static_shapes == (first == "torch")
    before, after = state_of(writer), state_of(reader)
    assert_equal_states(*({name: t.cpu() for name, t in state.items()} for state in (before, after)))
    assert (reader.iteration, reader.agent_steps) == (1, writer.agent_steps)
    for run in (writer, reader):
        run.iterate()
        run.synchronize()
    assert reader.god.env.world.digest() == writer.god.env.world.digest()
    assert reader.agent_steps == writer.agent_steps
    assert_close_by_name(weights_of(reader), weights_of(writer))
