"""Choosing actions: masked categorical heads, sampled from the world's counter-based random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.train.policy import MASKED, Output, of_style


def head_distributions(output: Output, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the three heads, [P, B, n] each; the target head under the given style [P, B]."""
    return (
        torch.log_softmax(output.move, -1),
        torch.log_softmax(output.style, -1),
        _target_distribution(output, style),
    )


def choose(log_probability: Tensor, uniform: Tensor) -> Tensor:
    """[...] int64: samples [..., n] log-probabilities by inverse CDF with [...] float32 draws in [0, 1)."""
    probability = log_probability.exp()
    cumulative = probability.cumsum(-1)
    # Rounding can leave the last entry below the draw; the choice is then the last possible one.
    last = probability.shape[-1] - 1 - (probability > 0).flip(-1).to(torch.uint8).argmax(-1)
    return torch.minimum((cumulative <= uniform[..., None]).sum(-1), last)


def sample(output: Output, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Samples a choice of every head.

    Args:
        uniform: [3, P, B] float32 in [0, 1), one draw per head.

    Returns:
        choices [P, B, 3] int64, and their joint log-probability [P, B].
    """
    move_log = torch.log_softmax(output.move, -1)
    style_log = torch.log_softmax(output.style, -1)
    move, style = choose(move_log, uniform[0]), choose(style_log, uniform[1])
    target_log = _target_distribution(output, style)
    target = choose(target_log, uniform[2])
    joint = _at(move_log, move) + _at(style_log, style) + _at(target_log, target)
    return torch.stack((move, style, target), -1), joint


def evaluate(output: Output, choices: Tensor) -> tuple[Tensor, Tensor]:
    """(joint log-probability [P, B], entropy [P, B]) of choices [P, B, 3].

    The entropy of the target head is the one under the style chosen."""
    heads = head_distributions(output, choices[..., 1])
    joint = sum(_at(head, choices[..., i]) for i, head in enumerate(heads))
    entropy = sum(-(head.exp() * head).sum(-1) for head in heads)
    assert isinstance(joint, Tensor) and isinstance(entropy, Tensor)
    return joint, entropy


def _target_distribution(output: Output, style: Tensor) -> Tensor:
    return torch.log_softmax(output.target.masked_fill(~of_style(output.target_mask, style), MASKED), -1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index[..., None]).squeeze(-1)
