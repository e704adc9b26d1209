"""The examples of networks from scratch train, resume and play, and each does what it is an example of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from train.small import CPU, FULL, assert_equal_states, reloaded, small, state_of

from nmmo_gpu.env import Env
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import ppo
from nmmo_gpu.train.network_spec import Observations
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trained_policy import TrainedPolicy
from nmmo_gpu.train.trinity import Trinity, sword_with

FOLDER = Path(__file__).parents[2] / "examples" / "networks"
NETWORKS = {
    "shared_mlp": "SharedMLP",
    "transformer": "Transformer",
    "lstm": "LSTM",
    "central_critic": "CentralCritic",
}
CONFIG = {"populations": 4, "births": -1, "hidden": 16}
GAMES = {"chaos": {}, "full": FULL | {"targeting": "learned"}, "chaos in bf16": {"precision": "bf16"}}


def network(name):
    """Returns the class of an example."""
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules[name])
    return getattr(sys.modules[name], NETWORKS[name])


@pytest.fixture(autouse=True)
def forget_examples():
    """Removes the examples from ``sys.modules``."""
    yield
    for name in NETWORKS:
        sys.modules.pop(name, None)


def trinity(name):
    return Trinity(sword=sword_with(network(name)))


def test_all_examples_are_tested_and_short():
    """At most 80 lines each, with the docstrings."""
    assert {file.stem for file in FOLDER.glob("*.py")} == set(NETWORKS)
    for file in FOLDER.glob("*.py"):
        assert 20 < len(file.read_text().splitlines()) <= 80, file.name


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_trained(name, game):
    """Two iterations change each parameter, and the statistics are finite numbers of each population."""
    run = Run(small(**CONFIG, **GAMES[game]), trinity=trinity(name))
    before = {key: p.detach().clone() for key, p in run.sword.policy.named_parameters()}
    for _ in range(2):
        (stats,) = run.iterate()
    assert stats.finite and all(values.isfinite().all() for values in stats.statistics.values())
    assert {len(values) for values in stats.statistics.values()} == {4}
    for key, parameter in run.sword.policy.named_parameters():
        assert not torch.equal(before[key], parameter), key


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_falls_on_a_fixed_rollout(name):
    """Repeated updates with one rollout make its returns predictable: the value loss falls by a half."""
    run = Run(small(**CONFIG, minibatches=1, learning_rate=3e-3, entropy_weight=0.0), trinity=trinity(name))
    rollout = run.god.collect()
    losses = [run.pantheon.learn(rollout, 0.0)["value_loss"].mean() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_resumed_run_equals_one_without_an_interruption(name, tmp_path):
    """Bit for bit, with the recurrent state and Adam's moments. The start depends on the seed alone."""
    config = small(**CONFIG)
    whole = Run(config, trinity=trinity(name))
    torch.manual_seed(12345)  # the user's generator does not matter
    random = torch.get_rng_state()
    halves = Run(config, trinity=trinity(name))
    assert torch.equal(torch.get_rng_state(), random)
    assert_equal_states(state_of(whole), state_of(halves))
    for _ in range(4):
        whole.iterate()
    for _ in range(2):
        halves.iterate()
    stored = reloaded(halves, tmp_path / checkpoints.FILE)
    assert stored.classes.network == f"{name}:{NETWORKS[name]}"
    resumed = Run(config, stored, trinity(name))
    for _ in range(2):
        resumed.iterate()
    assert_equal_states(state_of(whole), state_of(resumed))
    other = Run(small(**CONFIG, seed=4), trinity=trinity(name))
    assert not all(map(torch.equal, whole.sword.policy.parameters(), other.sword.policy.parameters()))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_plays(name, tmp_path):
    """As it would have played in the run."""
    run = Run(small(**CONFIG), trinity=trinity(name))
    run.iterate()
    stored = reloaded(run, tmp_path / checkpoints.FILE)
    env = Env(stored.config.env)
    env.reset()
    actor = TrainedPolicy(stored, sword_with(network(name)))
    acted = 0
    for _ in range(5):
        grown = (env.world.agents(env.world.age) > 1).reshape(-1, 1)
        before = actor._player(env)._after
        state = None if before is None else before * grown
        expected = run.sword.decide(env.records, env.world, state)
        actions = actor(env)
        assert torch.equal(actions, expected.actions)
        acted += int((actions != 0).any(-1).sum())
        env.step(actions)
    assert acted > 20


@pytest.mark.parametrize("name", NETWORKS)
def test_updates_see_what_the_rollout_saw(name):
    """The log-probabilities and values of an update are those of the rollout, before the weights change."""
    run = Run(small(**CONFIG), trinity=trinity(name))
    for _ in range(3):
        rollout = run.god.collect()
    assert (rollout.alive[2:] & rollout.died[:-2]).any(), "no newborn in the slot of a dead agent"
    policy, backend = run.sword.policy, run.sword.training_backend
    kind = ppo.SequenceBatches if policy.recurrent else ppo.SampleBatches
    batches = kind(policy, rollout, backend)
    assert (name == "lstm") == policy.recurrent
    with torch.no_grad():
        evaluation, rows, valid = batches.evaluate_actions(torch.arange(batches.columns))
    assert int(valid.sum()) == int(rollout.alive.sum())
    for found, recorded in (
        (evaluation.log_probability, rollout.log_probability), (evaluation.value, rollout.value[:-1]),
    ):  # fmt: skip
        expected = recorded.reshape(-1)[rows][valid]
        torch.testing.assert_close(found[valid], expected, rtol=0, atol=1e-5)


def observed(name, **settings):
    """Returns (policy, records [R * A, bytes] of a lively world, rows [P, B] of living agents)."""
    run = Run(small(**(CONFIG | settings)), trinity=trinity(name))
    run.god.collect()
    alive = run.god.env.world.alive.view(2, 4, -1)
    first = alive.to(torch.uint8).argmax(-1)
    rows = torch.arange(2)[:, None] * 16 + torch.arange(4) * 4 + first
    assert alive.any(-1).all()
    return run.sword.policy, run.god.env.records.view(32, -1).clone(), rows.T.contiguous()


def test_the_population_is_an_input_of_the_shared_network():
    """For one observation each population has another value, from one set of weights."""
    policy, records, rows = observed("shared_mlp")
    with torch.no_grad():
        logits, _ = policy.unmasked(records, rows[:1].expand(4, -1), None)
    assert len(logits[:, 0, -1].unique()) == 4
    assert not any(
        p.shape[0] == 4 for key, p in policy.named_parameters() if key != "network.population.weight"
    )


def test_attention_ignores_empty_rows_and_sees_the_others(monkeypatch):
    """Bytes of an empty row of the entity table do not matter to choices and value, those of another row do.
    A row's target logit is its token's."""
    policy, records, rows = observed("transformer", targeting="learned")
    views, nearest = policy.layout.views(records), policy.world_config.nearest
    counts = (views["entity_kind"] > 0).sum(-1)
    row = next(int(row) for row in rows.view(-1) if 0 < counts[row] < nearest)
    seen, index = int(counts[row]), torch.full((4, 1), row)
    encoded = policy.observations(records, index).encoded()
    monkeypatch.setattr(Observations, "encoded", lambda self: encoded)  # it also contains the rows

    def logits():
        with torch.no_grad():
            return policy.unmasked(records, index, None)[0][0, 0]

    before = logits()
    views["entities"][row, seen] += 5
    changed = (logits() != before).nonzero().view(-1).tolist()
    assert changed == [8 + 1 + seen], "only the target logit of the empty row, which the masks exclude"
    views["entities"][row, 0] += 5
    assert (logits() != before)[:8].all()


def test_the_recurrent_state_matters():
    """Other states give other logits and values; a state that has been reset gives those of a newborn."""
    policy, records, rows = observed("lstm")
    zero = policy.initial_state(rows.numel(), CPU).view(*rows.shape, -1)
    assert zero.shape == (4, 2, 32)
    with torch.no_grad():
        fresh, state = policy.unmasked(records, rows, zero)
        later, _ = policy.unmasked(records, rows, state)
        again, _ = policy.unmasked(records, rows, state * 0)
    assert torch.equal(fresh, again)
    assert (fresh != later).any(-1).all() and (fresh[..., -1] != later[..., -1]).all()


def test_only_the_critic_sees_other_agents_of_the_realm():
    """A change of another agent of the realm changes the value, and no logit; of another realm, nothing."""
    policy, records, rows = observed("central_critic")
    with torch.no_grad():
        before, _ = policy.unmasked(records, rows, None)
        agent = int(rows[0, 0])
        assert agent < 16 <= int(rows[0, 1])
        views = policy.layout.views(records)
        others = [int(r) for r in rows[1:, 0]]
        views["self"][others, 1] += 40
        after, _ = policy.unmasked(records, rows, None)
    assert torch.equal(after[0, :, :-1], before[0, :, :-1])
    assert after[0, 0, -1] != before[0, 0, -1]
    assert torch.equal(after[:, 1], before[:, 1])
