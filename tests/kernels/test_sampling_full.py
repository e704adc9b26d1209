"""Sampling and evaluation of the heads of the full game by the kernels, compared with torch."""

from __future__ import annotations

import pytest
import torch
from support.helpers import GARBAGE, KERNEL_DEVICE
from train.heads import CROWDS, Crowd

pytest.importorskip("triton")

from nmmo_gpu.kernels.train import evaluation, heads
from nmmo_gpu.kernels.train import sampling as kernels
from nmmo_gpu.train.sampling import evaluate, sample


@pytest.fixture(autouse=True)
def small_programs(monkeypatch):
    """Makes programs so small that a crowd needs several."""
    monkeypatch.setattr(heads, "AGENTS", 32)


@pytest.fixture(scope="module", params=CROWDS)
def crowd(request):
    """Returns a crowd for each set of heads."""
    return Crowd(request.param)


def chosen_by_kernels(crowd, index, logits, world=None):
    """Returns ``Chosen`` on the CPU. Records and logits of dead agents are garbage."""
    records = crowd.records.clone()
    records[~crowd.alive] = GARBAGE
    told = logits.masked_fill(~crowd.alive[index][..., None], torch.nan)
    there = [part.to(KERNEL_DEVICE) for part in (world or crowd.world, records, index, told)]
    return kernels.Chosen(*(part.cpu() for part in kernels.choose(*there, crowd.layout, crowd.auto)))


def test_the_choices_of_torch(crowd):
    """The same logits and draws give the same choices in every tick, except in the rare cases where rounding
    decides, and the same log-probabilities and values. No choice is impossible. Dead agents get zeros."""
    index, compared, unsure = crowd.everybody, 0, 0
    alive, before = crowd.alive[index], crowd.world.tick.clone()
    for seed in range(3):
        crowd.world.tick += 1
        logits, uniform = crowd.logits(index, seed), crowd.uniform(index)
        output = crowd.output(index, logits)
        choices, log = sample(output, uniform)
        found = chosen_by_kernels(crowd, index, logits)
        assert found.actions.shape == found.choices.shape == (index.numel(), len(crowd.sizes))
        assert found.actions.dtype == found.choices.dtype == torch.int16
        theirs = found.choices[index].long()
        near = crowd.near_a_border(output, choices, uniform)
        sure = alive & ~near
        assert torch.equal(theirs[sure], choices[sure])
        assert crowd.possible(output, theirs)[alive].all()
        torch.testing.assert_close(found.log_probability[index][sure], log[sure], rtol=0, atol=2e-5)
        assert torch.equal(found.value[index][alive], logits[..., -1][alive])
        for part in found:
            assert not part[~crowd.alive].any(), "the dead choose nothing"
        compared, unsure = compared + int(sure.sum()), unsure + int((near & alive).sum())
        # Only the target can differ as an action, where it is the row attacked.
        others = [column for column in range(len(crowd.sizes)) if column != 2]
        assert torch.equal(found.actions[:, others], found.choices[:, others])
        views = crowd.layout.views(crowd.records)
        for agent in crowd.alive.nonzero().view(-1).tolist():
            style, target = found.choices[agent, 1:3].tolist()
            kinds, reached = (
                views["entity_kind"][agent].tolist(),
                views["target_mask"][agent, style, 1:].tolist(),
            )
            foes = [k + 1 for k in range(5) if reached[k] and kinds[k] >= 2]
            expected = target if not crowd.auto else foes[0] if target else 0
            assert int(found.actions[agent, 2]) == expected
    crowd.world.tick.copy_(before)
    assert compared > 80 and unsure < 0.02 * compared + 1


def test_evaluation_and_its_gradients(crowd):
    """Log-probability and entropy of living agents equal those of torch, and so do the gradients of both,
    together and separately. Dead agents and the value get no gradient. Rows are in any order, some
    repeated."""
    random = torch.Generator().manual_seed(10)
    index = torch.arange(len(crowd.records))[None]
    choices, _ = sample(crowd.output(index, crowd.logits(index, 8, spread=0.5)), crowd.uniform(index))
    choices = choices[0].masked_fill(~crowd.alive[:, None], 0).to(torch.int16)
    rows = torch.randint(len(choices), (3, 19), generator=random)
    logits, alive = crowd.logits(rows, 9), crowd.alive[rows]
    weights = torch.randn(2, *rows.shape, generator=random) * alive
    for by in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        ours = logits.clone().requires_grad_()
        log, entropy = evaluate(crowd.output(rows, ours), choices[rows].long())
        (by[0] * weights[0] * log + by[1] * weights[1] * entropy).sum().backward()
        theirs = logits.to(KERNEL_DEVICE).clone().requires_grad_()
        given = (part.to(KERNEL_DEVICE) for part in (crowd.records, rows))
        found = evaluation.evaluate(*given, theirs, choices.to(KERNEL_DEVICE), crowd.layout, crowd.auto)
        parts = [b * w.to(KERNEL_DEVICE) * said for b, w, said in zip(by, weights, found, strict=True) if b]
        sum(parts).sum().backward()
        for said, expected in zip(found, (log, entropy), strict=True):
            said = said.detach().cpu()
            torch.testing.assert_close(said[alive], expected.detach()[alive], rtol=1e-5, atol=2e-5)
            assert said.isfinite().all()
        grad = theirs.grad.cpu()
        torch.testing.assert_close(grad, ours.grad, rtol=1e-4, atol=1e-5)
        assert not grad[~alive].any() and not grad[..., -1].any() and grad[..., :-1].any()
