"""The PPO loss compared with plain loops, the update, and the replay of rollouts."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from support.helpers import KERNEL_DEVICE, carried, chi_square
from train.small import CPU, KINDS, NETWORKS, lively_env, shout, small

from nmmo_gpu.train.config import PPOConfig
from nmmo_gpu.train.output import MASKED, Output
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.ppo import (
    STATISTICS,
    ActionEvaluation,
    SampleBatches,
    SequenceBatches,
    clip_per_population,
    enough_columns,
    explained_variance,
    fused_norms,
    loss,
    shuffled,
    split,
    update,
)
from nmmo_gpu.train.rollout import Rollout, by_population
from nmmo_gpu.train.sampling import evaluate, sample
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.actions import row_of
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import SELF_FEATURES, ObservationLayout

POPULATIONS, BATCH, TARGETS = 3, 11, 4
PLAIN = TrainingBackend()
RESIDENT = TrainingBackend(choose=lambda *_: pytest.fail("choose was called"))
"""Plain torch with rows for all slots, as for a backend that does not ask the device who lives."""
CONFIG = PPOConfig(clip=0.3, value_weight=0.7, entropy_weight=0.02)


def batch(seed=1, spread=0.4):
    """Returns (output whose heads and value are leaves, dict of the choices and the other arguments of
    ``loss``)."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(POPULATIONS, BATCH, *shape, generator=random)

    move, style = normal(5), normal(3)
    move[..., 3] = MASKED
    style[:, ::2, 1] = MASKED
    mask = torch.rand(POPULATIONS, BATCH, 3, TARGETS, generator=random) < 0.6
    mask[..., 0] = True
    output = Output(move, style, normal(TARGETS), mask, normal(), None)
    choices, log = sample(output, torch.rand(3, POPULATIONS, BATCH, generator=random))
    real = torch.rand(POPULATIONS, BATCH, generator=random) < 0.7
    real[:, 0] = True
    rest = {
        "choices": choices,
        "old_log": log + spread * normal(),
        "advantage": normal(),
        "returns": normal(),
        "real": real,
    }
    return leaves(output), rest


def leaves(output):
    """Returns the same output with new gradients."""
    values = {name: getattr(output, name).detach().clone() for name in ("move", "style", "target", "value")}
    return output._replace(**{name: value.requires_grad_() for name, value in values.items()})


def judged(output, choices):
    """The log-probability and entropy of choices under the network's output."""
    return ActionEvaluation(*evaluate(output, choices), output.value)


def gradients(output):
    """Returns the gradients of the four leaves."""
    return [output.move.grad, output.style.grad, output.target.grad, output.value.grad]


def learned(output, rest, config=CONFIG):
    """Returns (loss, statistics, gradients) of a batch."""
    output = leaves(output)
    others = {name: values for name, values in rest.items() if name != "choices"}
    total, statistics = loss(judged(output, rest["choices"]), **others, config=config)
    total.backward()
    return total.detach(), statistics, gradients(output)


def written_out(output, choices, old_log, advantage, returns, real, config):
    """Returns (loss, statistics), computed sample by sample with Python numbers."""
    total, rows = 0.0, []
    for p in range(POPULATIONS):
        sums, count = [0.0] * 5, 0
        for b in range(BATCH):
            if not real[p, b]:
                continue
            count += 1
            move, style, target = choices[p, b].tolist()
            log, entropy = 0.0, 0.0
            reachable = output.target[p, b].masked_fill(~output.target_mask[p, b, style], -torch.inf)
            for logits, choice in (
                (output.move[p, b], move),
                (output.style[p, b], style),
                (reachable, target),
            ):
                wishes = [math.exp(x) if x > MASKED / 2 else 0.0 for x in logits.tolist()]
                chances = [wish / sum(wishes) for wish in wishes]
                log += math.log(chances[choice])
                entropy -= sum(chance * math.log(chance) for chance in chances if chance > 0)
            ratio = math.exp(log - float(old_log[p, b]))
            worth = float(advantage[p, b])
            held = min(max(ratio, 1 - config.clip), 1 + config.clip)
            sums[0] -= min(ratio * worth, held * worth)
            sums[1] += (float(output.value[p, b].detach()) - float(returns[p, b])) ** 2
            sums[2] += entropy
            sums[3] += ratio - 1 - math.log(ratio)
            sums[4] += abs(ratio - 1) > config.clip
        means = [value / max(1, count) for value in sums]
        rows.append(means)
        total += means[0] + config.value_weight * means[1] - config.entropy_weight * means[2]
    return total, rows


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_statistics_match_a_loop(seed):
    """Each sample is computed by itself; some are clipped, and some are not."""
    output, rest = batch(seed)
    if seed == 3:
        rest["real"][1] = False  # a population without living agents
    total, statistics, _ = learned(output, rest)
    expected, rows = written_out(output, **rest, config=CONFIG)
    torch.testing.assert_close(float(total), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(statistics, torch.tensor(rows), rtol=1e-4, atol=1e-5)
    assert statistics.shape == (POPULATIONS, len(STATISTICS)) and not statistics.requires_grad
    assert 0 < statistics[0, 4] < 1, "both clipped and unclipped"
    assert (statistics[:, 3] >= 0).all()


def test_loss_gradient_matches_finite_differences():
    """Moving a logit or a value a little changes the loop's loss as the gradient says."""
    output, rest = batch(7)
    _, _, found = learned(output, rest)
    step, checked = 1e-4, 0
    random = torch.Generator().manual_seed(1)
    for name, gradient in zip(("move", "style", "target", "value"), found, strict=True):
        head = getattr(output, name).detach()
        for entry in torch.randint(head.numel(), (12,), generator=random).tolist():
            if float(head.view(-1)[entry]) == MASKED:
                assert gradient.view(-1)[entry] == 0
                continue
            ends = []
            for sign in (1, -1):
                moved = head.double()
                moved.view(-1)[entry] += sign * step
                ends.append(written_out(output._replace(**{name: moved}), **rest, config=CONFIG)[0])
            slope = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(float(gradient.view(-1)[entry]), slope, rtol=1e-2, atol=1e-4)
            checked += abs(slope) > 1e-4
    assert checked > 15


def test_padding_contributes_nothing():
    """With garbage of any size in the padding, loss, statistics and gradients have the same bits."""
    output, rest = batch(2)
    total, statistics, found = learned(output, rest)
    filling = ~rest["real"]
    with torch.no_grad():
        for name, garbage in (("move", -800.0), ("style", 900.0), ("target", 1e4), ("value", -1e6)):
            getattr(output, name)[filling] = garbage
        # The rows of padding may be any agent's, so a choice in them can be impossible.
        output.move[filling] = torch.tensor([MASKED, 0, 0, 0, 0])
        output.target_mask[filling] = False
    for name, garbage in (("choices", 0), ("old_log", 1e6), ("advantage", -1e6), ("returns", 1e6)):
        rest[name][filling] = garbage
    again, same_statistics, same = learned(output, rest)
    assert filling.any() and torch.equal(total, again) and torch.equal(statistics, same_statistics)
    for one, other in zip(found, same, strict=True):
        assert torch.equal(one, other)
        assert not one[filling].any() and one[~filling].any()


def test_populations_do_not_affect_each_other():
    """The first population's samples and its size change; the others' statistics and gradients do not."""
    output, rest = batch(4)
    _, statistics, found = learned(output, rest)
    others, other_rest = batch(5)
    with torch.no_grad():
        for name in ("move", "style", "target", "value", "target_mask"):
            getattr(output, name)[0] = getattr(others, name)[0]
    for name, values in other_rest.items():
        rest[name][0] = values[0]
    _, after, moved = learned(output, rest)
    assert torch.equal(statistics[1:], after[1:]) and not torch.equal(statistics[0], after[0])
    for one, other in zip(found, moved, strict=True):
        assert torch.equal(one[1:], other[1:]) and not torch.equal(one[0], other[0])


@pytest.mark.parametrize(("change", "worth", "held"), [
    (0.5, 1.0, True), (0.5, -1.0, False), (-0.5, -1.0, True), (-0.5, 1.0, False), (0.1, 1.0, False),
    (-0.1, -1.0, False),
])  # fmt: skip
def test_clipping_stops_the_gradient(change, worth, held):
    """Beyond the clip range, on the side that the advantage favors, the gradient is zero; elsewhere it is
    not."""
    output, rest = batch(6, spread=0.0)
    log, _ = evaluate(output, rest["choices"])
    rest["old_log"] = log.detach() - change
    rest["advantage"] = torch.full_like(log, worth).detach()
    config = PPOConfig(clip=0.3, entropy_weight=0.0, value_weight=1e-9)
    _, statistics, (move, _, _, _) = learned(output, rest, config)
    assert bool((move == 0).all()) == held
    far = abs(math.exp(change) - 1) > 0.3
    torch.testing.assert_close(statistics[:, 4], torch.full((POPULATIONS,), float(far)))


def test_explained_variance():
    """It is 1 for perfect values, 0 for constant ones, below 0 for worse ones, and 0 where the returns do not
    vary; padding does not count."""
    returns = torch.tensor([[1.0, 2.0, 3.0, 99.0]] * 5)
    value = torch.tensor([
        [1.0, 2.0, 3.0, -7.0], [5.0, 5.0, 5.0, 0.0], [3.0, 2.0, 1.0, 0.0], [2.0, 4.0, 6.0, 0.0],
        [8.0, 9.0, 10.0, 1.0],
    ])  # fmt: skip
    real = torch.tensor([[True, True, True, False]] * 5)
    found = explained_variance(value, returns, real)
    # Var(returns) = 2/3; errors of the third: -2, 0, 2, Var 8/3; of the fourth: -1, -2, -3, Var 2/3; the
    # fifth is off by a constant.
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -3.0, 0.0, 1.0]))
    level = torch.full((2, 4), 5.0)
    assert explained_variance(value[:2], level, real[:2]).tolist() == [0.0, 0.0]
    assert explained_variance(value[:1], returns[:1], torch.zeros(1, 4, dtype=torch.bool)).tolist() == [0.0]


def test_each_population_is_clipped_by_its_own_norm():
    """The norm is over all of a population's weights. A small gradient does not change by a bit, however
    large the others' are."""
    config = small(slots=15, populations=POPULATIONS, targeting="learned", recurrent=True)
    policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(2)
    sizes = torch.tensor([1e-4, 0.5, 30.0])
    for parameter in policy.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        parameter.grad = noise * sizes.view(-1, *[1] * (parameter.dim() - 1))
    policy.value_bias.grad = None
    before = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    norms = [math.sqrt(sum(float(g[p].double().square().sum()) for g in before.values())) for p in range(3)]
    grads = [p.grad for p in policy.parameters() if p.grad is not None]
    torch.testing.assert_close(fused_norms(grads), torch.tensor(norms), rtol=1e-4, atol=0)
    found = clip_per_population(policy, 0.9)
    torch.testing.assert_close(found, torch.tensor(norms), rtol=1e-4, atol=0)
    assert norms[0] < 0.9 < norms[1]
    for p in range(POPULATIONS):
        factor = min(1.0, 0.9 / norms[p])
        for name, gradient in before.items():
            now = policy.get_parameter(name).grad[p]
            if p == 0:
                assert torch.equal(now, gradient[p]), name
            torch.testing.assert_close(now, gradient[p] * factor, rtol=1e-4, atol=1e-9)


# Replaying a rollout.


def played(recurrent, targeting, **settings):
    """Returns (god, rollout) after three rollouts with deaths and births, by a policy with scaled-up
    heads."""
    config = small(
        recurrent=recurrent, targeting=targeting, slots=18, populations=3, births=-1, horizon=9, **settings
    )
    sword = Sword(config, CPU)
    god = God(config, sword)
    shout(god.sword.policy)
    for _ in range(3):
        rollout = god.collect()
    alive, died = rollout.alive, rollout.died
    assert (alive[2:] & died[:-2]).sum() > 3, "no newborn in the slot of a dead agent"
    assert (~alive).any()
    return god, rollout


def batches_of(policy, rollout, training_backend=PLAIN):
    """Returns the batches of ``update``."""
    kind = SequenceBatches if policy.config.recurrent else SampleBatches
    return kind(policy, rollout, training_backend)


def replay(policy, rollout, columns=None, training_backend=PLAIN):
    """Returns (log-probabilities, values, rows, valid) of the rollout's choices, by the batches of
    ``update``."""
    batches = batches_of(policy, rollout, training_backend)
    columns = torch.arange(batches.columns) if columns is None else columns(batches.columns)
    with torch.no_grad():
        evaluation, rows, valid = batches.evaluate_actions(columns)
    return evaluation.log_probability, evaluation.value, rows, valid


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_unchanged_weights_reproduce_the_rollout(recurrent, targeting):
    """Log-probabilities and values are those of the rollout, including the recurrent state and its resets at
    death. Each living row occurs exactly once, in its population."""
    god, rollout = played(recurrent, targeting)
    log, value, rows, valid = replay(god.sword.policy, rollout)
    recorded = rollout.log_probability.view(-1)[rows]
    torch.testing.assert_close(log[valid], recorded[valid], rtol=0, atol=1e-5)
    torch.testing.assert_close(value[valid], rollout.value[:-1].view(-1)[rows][valid], rtol=0, atol=1e-5)
    assert rows[valid].sort().values.tolist() == rollout.alive.view(-1).nonzero().view(-1).tolist()
    for p in range(3):
        assert set((rows[p][valid[p]] % 18 // 6).tolist()) == {p}
    assert float(recorded[valid].std()) > 0.1


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_rollouts_after_an_update_use_the_new_weights(recurrent, targeting):
    """The next rollout's log-probabilities are those of the new weights: whatever the policy caches between
    calls must be invalidated by the optimizer's step."""
    god, rollout = played(recurrent, targeting, learning_rate=0.02)
    pantheon = Pantheon(god.config, god.sword)
    for _ in range(2):
        pantheon.learn(rollout, 0.0)
        rollout = god.collect()
        # With gradients enabled, no cached tensor is used.
        batches = batches_of(god.sword.policy, rollout)
        evaluation, rows, valid = batches.evaluate_actions(torch.arange(batches.columns))
        recorded = rollout.log_probability.view(-1)[rows]
        assert evaluation.log_probability.requires_grad
        torch.testing.assert_close(
            evaluation.log_probability.detach()[valid], recorded[valid], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_minibatches_give_the_same_outputs(network):
    """Some columns alone, in another order, give what all columns together give."""
    god, rollout = played(NETWORKS[network], "auto")
    log, _, rows, valid = replay(
        god.sword.policy,
        rollout,
        lambda n: torch.randperm(n, generator=torch.Generator().manual_seed(1))[: n // 3],
    )
    assert 0 < valid.sum() < rollout.alive.sum()
    recorded = rollout.log_probability.view(-1)[rows]
    torch.testing.assert_close(log[valid], recorded[valid], rtol=0, atol=1e-5)


def test_the_replay_detects_a_state_kept_or_lost():
    """Without the resets at death, or without the state from before the rollout, the recurrent replay
    differs: the test above can fail."""
    god, rollout = played(True, "auto")
    kept = dataclasses.replace(
        rollout, died=torch.zeros_like(rollout.died), alive=torch.ones_like(rollout.alive)
    )
    lost = dataclasses.replace(rollout, state=torch.zeros_like(rollout.state))
    for wrong in (kept, lost):
        log, _, rows, _ = replay(god.sword.policy, wrong)
        valid = rollout.alive.view(-1)[rows]
        recorded = rollout.log_probability.view(-1)[rows]
        assert (log[valid] - recorded[valid]).abs().max() > 1e-2


# Learning.


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_update_learns_and_reports(recurrent, targeting):
    """It returns finite statistics of every population by name, changes all weights, and leaves the rollout
    unchanged."""
    god, rollout = played(recurrent, targeting, epochs=2, minibatches=3)
    policy = god.sword.policy
    before = [p.detach().clone() for p in policy.parameters()]
    copy = {k: v.clone() for k, v in vars(rollout).items() if v is not None}
    found = Pantheon(god.config, god.sword).learn(rollout, 0.0)
    assert set(found) == {*STATISTICS, "grad_norm", "explained_variance"}
    for name, values in found.items():
        assert values.shape == (3,) and values.isfinite().all() and not values.requires_grad, name
    assert (found["grad_norm"] > 0).all() and (found["entropy"] > 0).all()
    assert (found["clip_fraction"] <= 1).all() and (found["explained_variance"] <= 1).all()
    for old, (name, new) in zip(before, policy.named_parameters(), strict=True):
        assert new.isfinite().all() and not torch.equal(old, new), name
    for name, values in copy.items():
        assert torch.equal(values, getattr(rollout, name)), name


@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_minibatch_has_ratio_one(network):
    """With a single minibatch no weight has changed yet, so kl and clip fraction are 0 up to rounding."""
    god, rollout = played(NETWORKS[network], "learned", minibatches=1)
    found = Pantheon(god.config, god.sword).learn(rollout, 0.0)
    assert (found["kl"].abs() < 1e-6).all() and not found["clip_fraction"].any()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_population_without_living_agents(network):
    """It learns nothing and does not affect the others."""
    god, rollout = played(NETWORKS[network], "auto")
    rollout.alive.view(-1, 3, 6)[:, 1] = False
    policy = god.sword.policy
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    found = Pantheon(god.config, god.sword).learn(rollout, 0.0)
    assert all(values.isfinite().all() for values in found.values())
    assert found["grad_norm"][1] == 0 and found["grad_norm"][0] > 0
    for name, parameter in policy.named_parameters():
        assert parameter.isfinite().all()
        assert torch.equal(parameter[1], before[name][1]) and not torch.equal(parameter[0], before[name][0])


@pytest.mark.parametrize("network", NETWORKS)
def test_updates_depend_on_seed_and_tick_only(network):
    """Only the minibatches are random: with the same seed and tick the weights are identical, and with
    another of either they are not."""
    found = []
    for seed, tick in ((5, 100), (5, 100), (6, 100), (5, 101)):
        god, rollout = played(NETWORKS[network], "auto")
        rollout.seed[0] = seed
        rollout.tick.fill_(tick)
        policy = god.sword.policy
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
        update(policy, optimizer, rollout, god.config.ppo, PLAIN)
        found.append(torch.cat([p.detach().view(-1) for p in policy.parameters()]))
    assert torch.equal(found[0], found[1])
    assert not any(torch.equal(found[0], other) for other in found[2:])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("training_backend", [PLAIN, RESIDENT], ids=["plain", "capturable"])
def test_each_epoch_uses_every_column_once(network, training_backend, monkeypatch):
    """Each epoch has the configured number of minibatches, each in order, and another split."""
    god, rollout = played(NETWORKS[network], "auto", epochs=3, minibatches=4)
    kind = SequenceBatches if NETWORKS[network] else SampleBatches
    evaluate_actions, seen = kind.evaluate_actions, []

    def watched(batches, columns):
        seen.append(columns.tolist())
        return evaluate_actions(batches, columns)

    monkeypatch.setattr(kind, "evaluate_actions", watched)
    policy = god.sword.policy
    update(policy, torch.optim.Adam(policy.parameters(), lr=1e-3), rollout, god.config.ppo, training_backend)
    columns = batches_of(policy, rollout, training_backend).columns
    assert len(seen) == 3 * 4 and all(part == sorted(part) for part in seen)
    passes = [seen[start : start + 4] for start in (0, 4, 8)]
    for parts in passes:
        assert sorted(itertools.chain(*parts)) == list(range(columns))
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_rows_of_empty_slots_do_not_matter(recurrent, targeting):
    """With all slots in the batch and empty ones masked, an update of one minibatch has the statistics and
    results of the living rows alone. What is in the rows of empty slots has no effect on any bit."""
    found = []
    for training_backend, garbage in ((PLAIN, False), (RESIDENT, False), (RESIDENT, True)):
        god, rollout = played(recurrent, targeting, minibatches=1)
        dead = ~rollout.alive
        assert dead.any(1).all()
        if garbage:
            rollout.reward[dead], rollout.log_probability[dead] = -300.0, 50.0
            rollout.value[:-1][dead] = 900.0
            rollout.choices[dead] = torch.tensor([4, 2, 1], dtype=torch.int16)
        policy = god.sword.policy
        statistics = update(
            policy, torch.optim.SGD(policy.parameters(), lr=0.1), rollout, god.config.ppo, training_backend
        )
        found.append(statistics | {name: p.detach().clone() for name, p in policy.named_parameters()})
    plain, capturable, littered = found
    for name, values in plain.items():
        torch.testing.assert_close(capturable[name], values, rtol=1e-4, atol=1e-5)
        assert torch.equal(capturable[name], littered[name]), name


# The order of samples.


def at(seed, tick):
    """Returns a rollout that ended at that tick of the world with that seed."""
    rollout = Rollout.allocate(lively_layout(), 1, 1, 4, CPU)
    rollout.seed[0] = seed
    rollout.tick.fill_(tick)
    return rollout


def lively_layout():
    """Returns any layout."""
    return ObservationLayout(small().env.world)


def order(columns, seed=1, tick=1, epoch=0, training_backend=PLAIN):
    """Returns ``shuffled`` as a list."""
    found = shuffled(columns, at(seed, tick), epoch, training_backend)
    assert found.dtype == torch.int64 and found.shape == (columns,)
    return found.tolist()


@pytest.mark.parametrize("columns", [1, 2, 7, 1000, 4099])
def test_an_order_has_every_column_once(columns):
    """Also with a single column."""
    assert sorted(order(columns)) == list(range(columns))


@pytest.mark.parametrize(("columns", "minibatches"), [(12, 3), (13, 3), (5, 5), (7, 1)])
def test_minibatches_are_sorted_pieces_of_the_order(columns, minibatches):
    """Their sizes differ by at most one."""
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(columns))
    found = [piece.tolist() for piece in split(order, minibatches)]
    assert found == [sorted(piece.tolist()) for piece in order.tensor_split(minibatches)]


def test_epoch_tick_and_seed_determine_the_order():
    """Orders differ also where only the high words of tick and seed differ, and equal arguments give the same
    order."""
    keys = [
        (1, 1, 0),
        (1, 1, 1),
        (1, 1, 2),
        (1, 2, 0),
        (1, 1 + (1 << 32), 0),
        (2, 1, 0),
        (1 + (1 << 32), 1, 0),
    ]
    keys += [(-1, 1, 0), (0, 0, 0)]
    found = [order(50, *key) for key in keys]
    assert len({tuple(one) for one in found}) == len(keys)
    assert found == [order(50, *key) for key in keys]
    for one in found[1:]:
        assert sum(a == b for a, b in zip(one, found[0], strict=True)) < 10, "the orders are nearly equal"


@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_all_backends_give_the_same_order(backend):
    pytest.importorskip(backend)
    device = KERNEL_DEVICE if backend == "triton" else CPU
    training_backend = TrainingBackend(draw=carried(resolve(backend, device), device).draw)
    for columns, key in ((1, (3, 4, 0)), (333, (-7, 1 << 33, 1)), (64, (1 << 40, 9, 5))):
        assert order(columns, *key, training_backend=training_backend) == order(columns, *key)


def test_orders_are_uniform():
    """All 24 orders of four columns are equally frequent over ticks and epochs of one run."""
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for tick in range(400):
        for epoch in range(2):
            counts[tuple(order(4, 17, tick, epoch))] += 1
    statistic, bound = chi_square(torch.tensor(list(counts.values())))
    assert statistic < bound


# Bandits.


BANDITS = [(*kind, "fp32", 1) for kind in KINDS] + [(False, "auto", "bf16", 2), (True, "learned", "bf16", 1)]


@pytest.mark.parametrize(("recurrent", "targeting", "precision", "layers"), BANDITS)
def test_a_bandit_is_learned(recurrent, targeting, precision, layers):
    """Lives last one step. The first population earns 1 by staying, the second by moving in any direction,
    the third by moving in its heading, and other moves earn nothing. Within a few updates each prefers its
    rewarded moves wherever they are possible."""
    env = lively_env(realms=4)
    config = small(
        slots=60, populations=3, nearest=7, recurrent=recurrent, targeting=targeting, hidden=32,
        precision=precision, layers=layers, epochs=1, minibatches=2, gamma=0.5, gae_lambda=0.95, clip=0.2,
        value_weight=0.5, entropy_weight=0.0, max_grad_norm=1.0,
    )  # fmt: skip
    policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    random = torch.Generator().manual_seed(2)
    alive = env.world.alive.view(1, -1)
    agents, ticks = alive.shape[1], 4
    rows = env.records.view(agents, -1)
    index, real = by_population(alive, 3, 60)
    views = env.layout.views(rows)
    at = [SELF_FEATURES.index(name) for name in ("heading_row", "heading_col")]
    heading = views["self"][index[2]][:, at]
    ahead = (torch.tensor(MOVES)[1:] == heading[:, None]).all(-1)
    good = torch.zeros(*index.shape, 5, dtype=torch.bool)
    good[0, :, 0] = good[1, :, 1:] = True
    good[2, :, 1:] = ahead
    possible = real & (views["move_mask"][index] & good).any(-1)
    assert (possible.sum(1) > 10).all()
    state = None if policy.initial_state(1, CPU) is None else torch.zeros(*index.shape, 32)

    rollout = Rollout.allocate(env.layout, ticks, 4, 60, CPU)
    rollout.records.copy_(env.records.expand_as(rollout.records))
    rollout.alive.copy_(alive.expand(ticks, -1))
    rollout.died.copy_(rollout.alive)
    rollout.state = policy.initial_state(agents, CPU)

    def liking():
        with torch.no_grad():
            chance = (policy(rows, index, state).move.softmax(-1) * good).sum(-1)
        return torch.stack([chance[p][possible[p]].mean() for p in range(3)])

    at_first = liking()
    for _ in range(30):
        for t in range(ticks):
            with torch.no_grad():
                output = policy(rows, index, state)
                choices, log = sample(output, torch.rand(3, *index.shape, generator=random))
            rollout.choices[t, index[real]] = choices[real].to(torch.int16)
            rollout.log_probability[t, index[real]] = log[real]
            rollout.value[t, index[real]] = output.value[real]
            paid = good.gather(-1, choices[..., :1]).squeeze(-1)
            rollout.reward[t, index[real]] = paid[real].float()
        update(policy, optimizer, rollout, config.ppo, PLAIN)
        rollout.tick += ticks
    assert (at_first < torch.tensor([0.7, 0.8, 0.4])).all()
    assert (liking() > torch.tensor([0.9, 0.9, 0.6])).all()


def test_batches_have_possible_and_impossible_targets():
    """The batch of these tests has both under the chosen style."""
    output, rest = batch()
    mask = row_of(output.target_mask, rest["choices"][..., 1])
    assert mask.any() and not mask.all()


@pytest.mark.parametrize(
    ("living", "samples", "least", "columns"),
    [(0, 80, 1, 10), (1, 80, 1, 10), (10, 80, 1, 10), (11, 80, 1, 20), (80, 80, 1, 80), (3, 80, 32, 32),
     (9, 20, 1, 9), (10, 20, 1, 12), (20, 20, 1, 20), (1, 3, 5, 3), (2, 5, 2, 2)],
)  # fmt: skip
def test_enough_columns(living, samples, least, columns):
    """The result is the next eighth, rounded up, at most all samples and at least ``least``."""
    assert enough_columns(living, samples, least) == columns
