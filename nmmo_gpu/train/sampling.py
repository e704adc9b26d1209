"""Sampling and evaluation of actions of masked categorical heads, with counter-based random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from nmmo_gpu.train.output import MASKED, Output
from nmmo_gpu.world.actions import MORE_HEADS, Choices, row_of, side_of
from nmmo_gpu.world.random import Stream, unit
from nmmo_gpu.world.state import World


def uniforms(
    draw: Callable[..., tuple[Tensor, ...]], world: World, heads: Sequence[str], realm: Tensor, slot: Tensor
) -> Tensor:
    """Draws [heads, ...] float32 in [0, 1): one random number per head, in the order of ``heads``.

    Args:
        draw: ``nmmo_gpu.world.random.draw`` or a twin of it.
        world: read for ``seed`` and ``tick``.
        heads: names of heads.
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
    """Returns the log-probabilities of all heads, [P, B, n] each. Those of the target head are conditioned on
    ``style``, those of the price head on ``trade``, [P, B] each."""

    def given(name: str, _: Tensor) -> Tensor:
        # No head is conditioned on the choices of other heads, so any value will do for them.
        return trade if name == "trade" and trade is not None else style

    return tuple(log for log, _ in _heads(output, given))


def choose(log_probability: Tensor, uniform: Tensor) -> Tensor:
    """Samples choices by inverse CDF.

    Args:
        log_probability: [..., n] float32.
        uniform: [...] float32 in [0, 1).

    Returns:
        [...] int64.
    """
    probability = log_probability.exp()
    cumulative = probability.cumsum(-1)
    # Rounding can leave the last entry below the random number; the choice is then the last possible one.
    last = probability.shape[-1] - 1 - (probability > 0).flip(-1).to(torch.uint8).argmax(-1)
    return torch.minimum((cumulative <= uniform[..., None]).sum(-1), last)


def sample(output: Output, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Samples a choice of every head.

    Args:
        output: the logits and masks.
        uniform: [heads, P, B] float32 in [0, 1), one random number per head.

    Returns:
        (choices [P, B, heads] int64, their joint log-probability [P, B]).
    """
    draws = dict(zip(_names(output), uniform, strict=True))
    heads = list(_heads(output, lambda name, log: choose(log, draws[name])))
    return torch.stack([choice for _, choice in heads], -1), _joint(heads)


def most_likely(output: Output) -> tuple[Tensor, Tensor]:
    """Chooses the most likely choice of every head; of those that are equally likely, the first. That of the
    target head depends on the style chosen, that of the price head on the trade chosen.

    Args:
        output: the logits and masks.

    Returns:
        (choices [P, B, heads] int64, their joint log-probability [P, B]).
    """
    heads = list(_heads(output, lambda name, log: log.argmax(-1)))
    return torch.stack([choice for _, choice in heads], -1), _joint(heads)


def evaluate(output: Output, choices: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (joint log-probability [P, B], entropy [P, B]) of choices [P, B, heads].

    The entropy of the target head is conditioned on the chosen style, that of the price head on the chosen
    trade."""
    made = dict(zip(_names(output), choices.unbind(-1), strict=True))
    heads = list(_heads(output, lambda name, _: made[name]))
    joint = _joint(heads)
    entropy = sum(-(log.exp() * log).sum(-1) for log, _ in heads)
    assert isinstance(entropy, Tensor)
    return joint, entropy


def _names(output: Output) -> list[str]:
    """Returns the names of the heads in ``output``, in order."""
    return [name for name in Choices._fields if getattr(output, name) is not None]


def _heads(output: Output, choice_of: Callable[[str, Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (log-probabilities [P, B, n], choice [P, B]) of each head in order.

    ``choice_of(name, log-probabilities)`` returns the choice [P, B]."""
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
    """Returns the joint log-probability [P, B] of all choices."""
    parts = [_at(log, choice) for log, choice in heads]
    return sum(parts[1:], start=parts[0])


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index[..., None]).squeeze(-1)
