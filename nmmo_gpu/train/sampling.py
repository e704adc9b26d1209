"""Choosing actions: masked categorical heads, sampled from the world's counter-based random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from nmmo_gpu.train.policy import MASKED, Output
from nmmo_gpu.world.actions import MORE_HEADS, Choices, row_of, side_of
from nmmo_gpu.world.random import Stream, unit
from nmmo_gpu.world.state import World


def uniforms(
    draw: Callable[..., tuple[Tensor, ...]], world: World, heads: Sequence[str], realm: Tensor, slot: Tensor
) -> Tensor:
    """[heads, ...] float32 in [0, 1): one draw for each of the heads named, in their order.

    Args:
        draw: ``nmmo_gpu.world.random.draw`` or a twin of it.
        world: read for ``seed`` and ``tick``.
        heads: their names.
        realm: [...] int64.
        slot: [...] int64.
    """
    move, style, target, _ = draw(world.seed, world.tick, Stream.POLICY, realm, slot)
    words = {"move": move, "style": style, "target": target}
    if any(name in MORE_HEADS for name in heads):
        more = draw(world.seed, world.tick, Stream.POLICY_GOODS, realm, slot)
        words |= dict(zip(MORE_HEADS, more, strict=True))
    return unit(torch.stack([words[name] for name in heads]))


def head_distributions(output: Output, style: Tensor, trade: Tensor | None = None) -> tuple[Tensor, ...]:
    """Log-probabilities of all heads, [P, B, n] each; the target head under the given style, the price head
    under the given trade, [P, B] each."""

    def given(name: str, _: Tensor) -> Tensor:
        # What other heads choose is not looked at.
        return trade if name == "trade" and trade is not None else style

    return tuple(log for log, _ in _heads(output, given))


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
        uniform: [heads, P, B] float32 in [0, 1), one draw per head.

    Returns:
        choices [P, B, heads] int64, and their joint log-probability [P, B].
    """
    draws = dict(zip(_names(output), uniform, strict=True))
    heads = list(_heads(output, lambda name, log: choose(log, draws[name])))
    return torch.stack([choice for _, choice in heads], -1), _joint(heads)


def evaluate(output: Output, choices: Tensor) -> tuple[Tensor, Tensor]:
    """(joint log-probability [P, B], entropy [P, B]) of choices [P, B, heads].

    The entropy of the target head is the one under the style chosen, that of the price head the one under the
    trade chosen."""
    made = dict(zip(_names(output), choices.unbind(-1), strict=True))
    heads = list(_heads(output, lambda name, _: made[name]))
    joint = _joint(heads)
    entropy = sum(-(log.exp() * log).sum(-1) for log, _ in heads)
    assert isinstance(entropy, Tensor)
    return joint, entropy


def _names(output: Output) -> list[str]:
    """The heads that there are, in order."""
    return [name for name in Choices._fields if getattr(output, name) is not None]


def _heads(output: Output, choice_of: Callable[[str, Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """(log-probabilities [P, B, n], choice [P, B]) of each head in order.

    ``choice_of(name, log-probabilities)`` makes the choice, or knows it."""
    made: dict[str, Tensor] = {}
    for name in _names(output):
        logits = getattr(output, name)
        if name == "target":
            logits = logits.masked_fill(~row_of(output.target_mask, made["style"]), MASKED)
        elif name == "price":
            assert output.trade is not None and output.price_mask is not None
            side = side_of(made["trade"], output.trade.shape[-1])
            logits = logits.masked_fill(~row_of(output.price_mask, side), MASKED)
        log = torch.log_softmax(logits, -1)
        made[name] = choice_of(name, log)
        yield log, made[name]


def _joint(heads: list[tuple[Tensor, Tensor]]) -> Tensor:
    """[P, B]: the log-probability of all choices together."""
    parts = [_at(log, choice) for log, choice in heads]
    return sum(parts[1:], start=parts[0])


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index[..., None]).squeeze(-1)
