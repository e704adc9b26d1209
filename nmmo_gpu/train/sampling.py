"""Sampling and evaluation of actions of masked categorical heads, with counter-based random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from nmmo_gpu.config.systems import STOCK_HEADS
from nmmo_gpu.train.output import MASKED, Output, auto_target, mask_logits
from nmmo_gpu.world.actions import MORE_HEADS, Chosen, action_heads, row_of, side_of
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.random import SLOT_BITS, Stream, unit
from nmmo_gpu.world.state import World

WORDS = 4
"""Words of a draw."""


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
    others = [name for name in heads if name not in STOCK_HEADS]
    for first in range(0, len(others), WORDS):
        index = slot + (first // WORDS << SLOT_BITS)
        more = draw(world.seed, world.tick, Stream.POLICY_OTHERS, realm, index)
        words |= dict(zip(others[first:], more, strict=False))
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


def choose_all(
    draw: Callable[..., tuple[Tensor, ...]], world: World, records: Tensor, index: Tensor, logits: Tensor,
    layout: ObservationLayout, auto: bool,
) -> Chosen:  # fmt: skip
    """Samples the actions of living agents without a device sync, for heads of systems; those of the other
    slots are 0.

    Args:
        draw: ``nmmo_gpu.world.random.draw`` or a twin of it.
        world: read for ``alive``, ``seed`` and ``tick``.
        records: [N, bytes] uint8.
        index: [P, B] int64, different agents among the N; the results of all others are 0.
        logits: [P, B, choices + 1] float32, as ``PolicyBase.unmasked`` returns them.
        layout: layout of the records.
        auto: whether the target is chosen by auto-targeting."""
    slots = world.config.slots
    views = layout.views(records[:, : layout.header_bytes][index])
    output = mask_logits(logits, views, "auto" if auto else "learned")
    heads = list(action_heads(world.config))
    choices, log_probability = sample(output, uniforms(draw, world, heads, index // slots, index % slots))
    actions = choices.clone()
    if auto:
        actions[..., 2] *= auto_target(views, choices[..., 1])
    living = world.agents(world.alive).reshape(-1)[index]

    def placed(values: Tensor, dtype: torch.dtype) -> Tensor:
        values = torch.where(living.view(*living.shape, *[1] * (values.dim() - 2)), values, 0).to(dtype)
        out = torch.zeros(records.shape[0], *values.shape[2:], dtype=dtype, device=records.device)
        return out.index_copy_(0, index.reshape(-1), values.flatten(0, 1))

    return Chosen(
        placed(actions, torch.int16), placed(choices, torch.int16), placed(log_probability, torch.float32),
        placed(output.value, torch.float32),
    )  # fmt: skip


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
    """Returns the names of the heads in ``output``, in order; those of systems are numbered."""
    stock = [name for name in STOCK_HEADS if getattr(output, name) is not None]
    return stock + [f"other {number}" for number in range(len(output.others))]


def _heads(output: Output, choice_of: Callable[[str, Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (log-probabilities [P, B, n], choice [P, B]) of each head in order.

    ``choice_of(name, log-probabilities)`` returns the choice [P, B]."""
    made: dict[str, Tensor] = {}
    names = _names(output)
    of_systems = dict(zip(names[len(names) - len(output.others) :], output.others, strict=True))
    for name in names:
        logits = of_systems[name] if name in of_systems else getattr(output, name)
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
