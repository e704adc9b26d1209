"""The TorchRL example trains all its parts, and its distribution is that of independent, masked choices."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import tyro
from torch.distributions import Categorical

pytest.importorskip("torchrl")

_spec = importlib.util.spec_from_file_location(
    "torchrl_collector", Path(__file__).parents[2] / "examples" / "torchrl_collector.py"
)
torchrl_collector = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(torchrl_collector)

TINY = (
    "--iterations", "2", "--realms", "2", "--slots", "16", "--horizon", "5", "--minibatch", "37",
    "--seed", "5", "--device", "cpu",
)  # fmt: skip


def learned(*options: str) -> list[torch.Tensor]:
    """Returns the weights of actor and critic after a run of the script."""
    args = tyro.cli(torchrl_collector.Args, args=[*TINY, *options])
    return [weight.detach() for weight in torchrl_collector.main(args).parameters()]


@pytest.mark.parametrize("preset", ["chaos", "full"])
def test_two_iterations_change_every_layer_and_stay_finite(preset, capsys):
    untouched, weights = (learned("--preset", preset, "--learning-rate", rate) for rate in ("0", "0.001"))
    for before, after in zip(untouched, weights, strict=True):
        assert after.isfinite().all() and not torch.equal(before, after)
    assert capsys.readouterr().out.count("mean lifetime") == 4


def test_heads_are_independent_masked_categoricals():
    torch.manual_seed(2)
    sizes = (5, 3, 7)
    logits, mask = torch.randn(4, 6, 15), torch.rand(4, 6, 15) < 0.6
    mask[..., [0, 5, 8]] = True
    heads = torchrl_collector.Heads(logits, mask, sizes)
    parts = zip(logits.split(sizes, -1), mask.split(sizes, -1), strict=True)
    expected = [Categorical(logits=score.masked_fill(~allowed, -torch.inf)) for score, allowed in parts]
    drawn = heads.sample((3000,))
    assert drawn.shape == (3000, 4, 6, 3) and drawn.dtype == torch.int64
    for actions in drawn[:50]:
        probability = sum(one.log_prob(actions[..., i]) for i, one in enumerate(expected))
        assert torch.allclose(heads.log_prob(actions), probability, atol=1e-5)
        assert probability.isfinite().all(), "a masked choice was drawn"
    for i, (one, size) in enumerate(zip(expected, sizes, strict=True)):
        often = torch.nn.functional.one_hot(drawn[..., i], size).float().mean(0)
        assert torch.allclose(often, one.probs, atol=0.05)
        assert torch.equal(heads.deterministic_sample[..., i], one.probs.argmax(-1))
    entropy = sum(-(one.probs * one.probs.clamp(min=1e-30).log()).sum(-1) for one in expected)
    assert torch.allclose(heads.entropy(), entropy, atol=1e-5)
