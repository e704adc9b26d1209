"""Sampling and evaluating the heads of the full game, in torch and in numba."""

from __future__ import annotations

import pytest
import torch
from support.helpers import chi_square
from train.heads import CROWDS, SLOTS, Crowd

from nmmo_gpu.train.sampling import evaluate, sample, uniforms
from nmmo_gpu.world.random import Stream, draw, unit

LARGEST = 1.0 - 2.0**-24


@pytest.fixture(scope="module", params=CROWDS)
def crowd(request):
    """Returns observations for any set of heads."""
    return Crowd(request.param)


@pytest.fixture(params=["torch", "numba"])
def path(request):
    """The functions that sample and evaluate."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


def sampled(path, crowd, index, logits, uniform):
    """Returns (choices [P, B, heads], log-probability [P, B])."""
    if path == "torch":
        return sample(crowd.output(index, logits), uniform)
    from nmmo_gpu.cpu.train import sampling

    return sampling.sample(crowd.records, index, logits, uniform, crowd.layout, crowd.auto)


def judged(path, crowd, index, logits, choices):
    """Returns (log-probability, entropy) of choices [N, heads] by row."""
    if path == "torch":
        return evaluate(crowd.output(index, logits), choices[index].long())
    from nmmo_gpu.cpu.train import sampling

    return sampling.evaluate(crowd.records, index, logits, choices, crowd.layout, crowd.auto)


def test_each_head_has_its_own_draw(crowd):
    """The first heads use the first three words of the policy's stream, as in chaos. Each further head has a
    word of the second stream, which does not depend on the other heads."""
    names = list(crowd.sizes)
    index, world = crowd.everybody, crowd.world
    realm, slot = index // SLOTS, index % SLOTS
    found = uniforms(draw, world, names, realm, slot)
    assert found.shape == (len(names), *index.shape) and found.dtype == torch.float32
    first = draw(world.seed, world.tick, Stream.POLICY, realm, slot)
    second = draw(world.seed, world.tick, Stream.POLICY_GOODS, realm, slot)
    words = dict(zip(("move", "style", "target"), first, strict=False))
    words |= dict(zip(("work", "trade", "price", "token"), second, strict=True))
    for name, uniform in zip(names, found, strict=True):
        assert torch.equal(uniform, unit(words[name])), name


def test_sampled_choices_are_possible(crowd, path):
    """However large the logits of impossible choices are; the smallest and the largest draw are among the
    draws."""
    index, random = crowd.everybody, torch.Generator().manual_seed(2)
    barred = 0
    for seed in range(6):
        logits = crowd.logits(index, seed, spread=8.0)
        uniform = torch.rand(len(crowd.sizes), *index.shape, generator=random)
        uniform[torch.rand(uniform.shape, generator=random) < 0.2] = LARGEST
        uniform[torch.rand(uniform.shape, generator=random) < 0.2] = 0.0
        choices, log = sampled(path, crowd, index, logits, uniform)
        assert choices.shape == (*index.shape, len(crowd.sizes)) and choices.dtype == torch.int64
        output = crowd.output(index, logits)
        assert crowd.possible(output, choices)[crowd.alive[index]].all()
        assert log.isfinite().all() and (log < 1e-5).all()
        barred += sum(int((~mask).sum()) for mask in crowd.masks(output, choices))
    assert barred > 2000


@pytest.mark.parametrize("end", [0.0, LARGEST])
def test_the_smallest_and_the_largest_draw(crowd, path, end):
    """They take the first and the last possible choice of each head."""
    index = crowd.everybody
    logits = crowd.logits(index, 3, spread=0.5)
    choices, _ = sampled(path, crowd, index, logits, torch.full((len(crowd.sizes), *index.shape), end))
    chances = crowd.distributions(crowd.output(index, logits), choices)
    for column, log in enumerate(chances):
        possible = log.exp() > 0
        last = log.shape[-1] - 1 - possible.flip(-1).to(torch.uint8).argmax(-1)
        expected = last if end else possible.to(torch.uint8).argmax(-1)
        alive = crowd.alive[index]
        assert torch.equal(choices[..., column][alive], expected[alive])


def test_sample_and_evaluate_agree(crowd, path):
    """They give the same log-probability."""
    index = crowd.everybody
    logits = crowd.logits(index, 4)
    choices, log = sampled(path, crowd, index, logits, crowd.uniform(index))
    by_row = torch.zeros(index.numel(), len(crowd.sizes), dtype=torch.int16)
    by_row[index.reshape(-1)] = choices.flatten(0, 1).to(torch.int16)
    found, entropy = judged(path, crowd, index, logits, by_row)
    alive = crowd.alive[index]
    torch.testing.assert_close(found[alive], log[alive], rtol=0, atol=1e-5)
    assert found.isfinite().all() and entropy.isfinite().all()


def test_probabilities_match_torch_distributions(crowd, path):
    """Log-probability and entropy are sums over heads; the target's are those under the chosen style, and the
    price's those under the chosen trade."""
    index = crowd.everybody
    logits = crowd.logits(index, 5)
    choices, _ = sample(crowd.output(index, logits), crowd.uniform(index))
    by_row = torch.zeros(index.numel(), len(crowd.sizes), dtype=torch.int16)
    by_row[index.reshape(-1)] = choices.flatten(0, 1).to(torch.int16)
    log, entropy = judged(path, crowd, index, logits, by_row)
    expected, spread = torch.zeros_like(log), torch.zeros_like(log)
    masks = crowd.masks(crowd.output(index, logits), choices)
    heads = logits[..., :-1].split(list(crowd.sizes.values()), -1)
    for column, (head, mask) in enumerate(zip(heads, masks, strict=True)):
        torchs = torch.distributions.Categorical(
            logits=head.masked_fill(~mask, -torch.inf), validate_args=False
        )
        expected += torchs.log_prob(choices[..., column])
        spread -= torch.where(torchs.probs > 0, torchs.probs * torchs.probs.log(), 0.0).sum(-1)
    alive = crowd.alive[index]
    torch.testing.assert_close(log[alive], expected[alive], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(entropy[alive], spread[alive], rtol=1e-4, atol=2e-5)


def test_numba_matches_torch(crowd):
    """From the same logits and draws, choices are equal except in rare cases where rounding decides.
    Log-probability, entropy and gradients are equal for rows in any order and with repetitions; the value has
    no gradient."""
    pytest.importorskip("numba")
    index, compared, unsure = crowd.everybody, 0, 0
    alive = crowd.alive[index]
    for seed in range(4):
        logits, uniform = (
            crowd.logits(index, 20 + seed),
            torch.rand(len(crowd.sizes), *index.shape, generator=torch.Generator().manual_seed(seed)),
        )
        by_torch, log = sampled("torch", crowd, index, logits, uniform)
        by_numba, numba_log = sampled("numba", crowd, index, logits, uniform)
        near = crowd.near_a_border(crowd.output(index, logits), by_torch, uniform)
        sure = alive & ~near
        assert torch.equal(by_numba[sure], by_torch[sure])
        torch.testing.assert_close(numba_log[sure], log[sure], rtol=1e-5, atol=2e-5)
        compared, unsure = compared + int(sure.sum()), unsure + int((near & alive).sum())
    assert compared > 100 and unsure < 0.02 * compared

    by_row = torch.zeros(index.numel(), len(crowd.sizes), dtype=torch.int16)
    by_row[index.reshape(-1)] = (by_torch * alive[..., None]).flatten(0, 1).to(torch.int16)
    random = torch.Generator().manual_seed(5)
    rows = torch.randint(index.numel(), (3, 40), generator=random)
    start, lives = crowd.logits(rows, 30), crowd.alive[rows]
    weights = torch.randn(2, *rows.shape, generator=random) * lives
    for by in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        found = []
        for path in ("torch", "numba"):
            leaf = start.clone().requires_grad_()
            log, entropy = judged(path, crowd, rows, leaf, by_row)
            parts = [b * w * value for b, w, value in zip(by, weights, (log, entropy), strict=True) if b]
            sum(parts).sum().backward()
            found.append((log.detach()[lives], entropy.detach()[lives], leaf.grad))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=2e-5)
        grad = found[1][2]
        assert not grad[~lives].any() and not grad[..., -1].any() and grad[..., :-1].any()
        masked = ~crowd.layout.views(crowd.records[rows])["move_mask"]
        assert masked.any() and not grad[..., :5][masked].any()


def test_the_number_of_threads_does_not_matter(crowd):
    """One and three threads give the same bits of choices and gradients."""
    sampling = pytest.importorskip("nmmo_gpu.cpu.train.sampling")
    index = crowd.everybody.repeat(1, 12)
    logits, uniform = crowd.logits(index, 7), crowd.uniform(index)
    choices = torch.zeros(crowd.everybody.numel(), len(crowd.sizes), dtype=torch.int16)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            leaf = logits.clone().requires_grad_()
            parts = sampling.sample(crowd.records, index, leaf, uniform, crowd.layout, crowd.auto)
            evaluation = sampling.evaluate(crowd.records, index, leaf, choices, crowd.layout, crowd.auto)
            (evaluation[0] + 2 * evaluation[1]).sum().backward()
            found.append((*parts, *evaluation, leaf.grad))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one, three)


def test_trades_and_prices_have_the_right_frequencies(path):
    """Sixty thousand samples of one agent: trade and price jointly, by chi-square."""
    crowd = Crowd("exchange alone")
    views = crowd.layout.views(crowd.records)
    variety = views["trade_mask"].sum(1) * crowd.alive
    agent, many = int(variety.argmax()), 60_000
    one = torch.tensor([[agent]])
    logits = crowd.logits(one, 5, spread=0.7)
    logits[..., -17:-1] += torch.linspace(2.0, -8.0, 16)
    uniform = torch.rand(len(crowd.sizes), 1, many, generator=torch.Generator().manual_seed(11))
    choices, _ = sampled(path, crowd, one.expand(1, many), logits.expand(1, many, -1), uniform)
    trades, prices = crowd.sizes["trade"], crowd.sizes["price"]
    counts = (choices[0, :, -2] * prices + choices[0, :, -1]).bincount(minlength=trades * prices)
    output = crowd.output(one, logits)
    expected = torch.zeros(trades, prices)
    for trade in range(trades):
        given = torch.zeros(1, 1, len(crowd.sizes), dtype=torch.int64)
        given[..., -2] = trade
        trade_log, price_log = crowd.distributions(output, given)[-2:]
        expected[trade] = (trade_log[0, 0, trade] + price_log[0, 0]).exp()
    expected = expected.view(-1)
    torch.testing.assert_close(expected.sum(), torch.tensor(1.0))
    assert not counts[expected == 0].any() and (expected[prices:].view(-1, prices)[:, 1:] > 0).any()
    common = expected * many >= 5
    assert common.sum() > 30
    statistic, bound = chi_square(counts[common], expected[common] * many)
    assert statistic < bound
