"""Sampling from masked heads: impossible choices never occur, and others have the right frequency."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from support.helpers import chi_square

from nmmo_gpu.train.output import MASKED, Output
from nmmo_gpu.train.sampling import choose, evaluate, head_distributions, sample
from nmmo_gpu.world.actions import row_of

LARGEST = 1.0 - 2.0**-24
"""The largest float32 below 1, which is the largest draw."""


def random_output(populations, batch, targets, seed, spread=2.0):
    """Returns heads with random logits and masks; staying, melee and no target are always possible."""
    random = torch.Generator().manual_seed(seed)

    def masked(n):
        logits = torch.randn(populations, batch, n, generator=random) * spread
        impossible = torch.rand(populations, batch, n, generator=random) < 0.4
        impossible[..., 0] = False
        return logits.masked_fill(impossible, MASKED)

    mask = torch.rand(populations, batch, 3, targets, generator=random) < 0.6
    mask[..., 0] = True
    target = torch.randn(populations, batch, targets, generator=random) * spread
    return Output(masked(5), masked(3), target, mask, torch.zeros(populations, batch), None)


def draws(populations, batch, seed):
    """Returns [3, P, B] uniform draws of 24 bits that include the smallest and the largest."""
    random = torch.Generator().manual_seed(seed)
    uniform = torch.rand(3, populations, batch, generator=random)
    uniform[torch.rand(uniform.shape, generator=random) < 0.15] = 0.0
    uniform[torch.rand(uniform.shape, generator=random) < 0.15] = LARGEST
    return uniform


@hypothesis.given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40), data=st.data(),
    uniform=st.sampled_from([0.0, LARGEST, 0.5]) | st.integers(0, (1 << 24) - 1).map(lambda k: k / (1 << 24)),
)  # fmt: skip
@hypothesis.settings(max_examples=300)
def test_a_masked_choice_is_never_sampled(logits, data, uniform):
    """For any logits, any mask that allows something, and any draw."""
    possible = data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)).filter(any))
    values = torch.tensor(logits).masked_fill(~torch.tensor(possible), MASKED)
    chosen = int(choose(torch.log_softmax(values, -1), torch.tensor(uniform)))
    assert 0 <= chosen < len(logits) and possible[chosen]


@pytest.mark.parametrize("n", [2, 3, 5, 7, 33])
def test_the_largest_draw_takes_the_last_possible_choice(n):
    """Even if rounding makes the cumulative sum smaller than the draw. The draw 0 takes the first possible
    choice."""
    for last in range(n):
        values = torch.zeros(n)
        values[last + 1 :] = MASKED
        log = torch.log_softmax(values, -1)
        assert int(choose(log, torch.tensor(LARGEST))) == last
        # A cumulative sum whose last value is below the draw.
        assert int(choose(log - 1e-3, torch.tensor(LARGEST))) == last
    for first in range(n):
        values = torch.zeros(n)
        values[:first] = MASKED
        assert int(choose(torch.log_softmax(values, -1), torch.tensor(0.0))) == first


def test_many_samples_are_possible():
    """All three heads of a batch, with the smallest and the largest draw among the others."""
    seen = 0
    for seed in range(20):
        output = random_output(2, 211, 6, seed)
        choices, log = sample(output, draws(2, 211, seed))
        assert choices.shape == (2, 211, 3) and choices.dtype == torch.int64
        move, style, target = choices.unbind(-1)
        assert (output.move.gather(-1, move[..., None]) > MASKED / 2).all()
        assert (output.style.gather(-1, style[..., None]) > MASKED / 2).all()
        assert row_of(output.target_mask, style).gather(-1, target[..., None]).all()
        assert log.isfinite().all() and (log <= 0).all()
        seen += int((~output.target_mask).sum())
    assert seen > 1000


def test_evenly_spaced_draws_give_the_probabilities():
    """Draws on a fine grid choose each entry in proportion, to within one grid point per border."""
    random = torch.Generator().manual_seed(3)
    for n in (2, 5, 9):
        log = torch.log_softmax(torch.randn(n, generator=random) * 2, -1)
        points = 1 << 12
        grid = (torch.arange(points) + 0.5) / points
        counts = choose(log.expand(points, n), grid).bincount(minlength=n)
        assert ((counts - log.exp() * points).abs() <= 2).all()


def test_joint_frequencies():
    """The target has the distribution under the style that was sampled with it."""
    one = random_output(1, 1, 3, seed=5, spread=0.7)
    many = 60_000
    output = one.map(lambda part: part.expand(1, many, *part.shape[2:]))
    uniform = torch.rand(3, 1, many, generator=torch.Generator().manual_seed(11))
    choices, _ = sample(output, uniform)
    code = choices[0] @ torch.tensor([9, 3, 1])
    counts = code.bincount(minlength=45)
    expected = torch.zeros(45)
    for style in range(3):
        move, styles, target = head_distributions(one, torch.tensor([[style]]))
        for m in range(5):
            at = m * 9 + style * 3
            expected[at : at + 3] = (move[0, 0, m] + styles[0, 0, style] + target[0, 0]).exp()
    assert not counts[expected == 0].any()
    common = expected * many >= 5
    assert common.sum() > 8
    torch.testing.assert_close(expected[common].sum(), torch.tensor(1.0), rtol=1e-3, atol=1e-3)
    statistic, bound = chi_square(counts[common], expected[common] * many)
    assert statistic < bound


@pytest.mark.parametrize("targets", [2, 9])
def test_sample_and_evaluate_agree(targets):
    """The log-probability that sample() returns equals that of evaluate() for the same choices."""
    output = random_output(3, 101, targets, seed=targets)
    choices, log = sample(output, draws(3, 101, seed=2))
    found, _ = evaluate(output, choices)
    torch.testing.assert_close(found, log, rtol=0, atol=1e-6)


def distributions(output, style):
    """Returns the three heads as torch.distributions, with -inf for impossible choices."""
    target = output.target.masked_fill(~row_of(output.target_mask, style), -torch.inf)
    heads = (output.move, output.style, target)
    return [
        torch.distributions.Categorical(logits=h.masked_fill(h <= MASKED, -torch.inf), validate_args=False)
        for h in heads
    ]


@pytest.mark.parametrize("targets", [2, 9])
def test_probabilities_match_torch_distributions(targets):
    """Log-probability and entropy are sums over heads; the target's are those under the chosen style."""
    output = random_output(2, 67, targets, seed=30 + targets)
    choices, _ = sample(output, draws(2, 67, seed=4))
    log, entropy = evaluate(output, choices)
    heads = distributions(output, choices[..., 1])
    expected = sum(head.log_prob(choices[..., i]) for i, head in enumerate(heads))
    torch.testing.assert_close(log, expected, rtol=1e-5, atol=1e-5)
    spread = torch.zeros_like(entropy)
    for head in heads:
        chance = head.probs
        spread -= torch.where(chance > 0, chance * chance.log(), 0.0).sum(-1)
    torch.testing.assert_close(entropy, spread, rtol=1e-5, atol=1e-5)
    assert (entropy >= 0).all() and entropy.max() > 1.0


def test_a_single_possible_choice_has_entropy_0():
    """Its log-probability is 0 too."""
    output = random_output(1, 3, 4, seed=1)
    output.move[..., 1:] = MASKED
    output.style[..., 1:] = MASKED
    output.target_mask[..., 1:] = False
    choices, log = sample(output, torch.full((3, 1, 3), LARGEST))
    assert not choices.any() and not log.any()
    assert not evaluate(output, choices)[1].any()


def test_gradients_are_finite_and_zero_where_masked():
    """Through log-probability and entropy."""
    output = random_output(2, 50, 5, seed=77)
    heads = [part.clone().requires_grad_() for part in output[:3]]
    choices, _ = sample(output, draws(2, 50, seed=5))
    log, entropy = evaluate(output._replace(move=heads[0], style=heads[1], target=heads[2]), choices)
    (log.sum() + 3 * entropy.sum()).backward()
    masks = [output.move == MASKED, output.style == MASKED, ~row_of(output.target_mask, choices[..., 1])]
    for head, mask in zip(heads, masks, strict=True):
        assert head.grad.isfinite().all() and mask.any()
        assert not head.grad[mask].any() and head.grad[~mask].any()
