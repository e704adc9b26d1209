"""Outputs of the policy network: one field per head, impossible choices masked."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.config import Targeting
from nmmo_gpu.world import actions
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STRANGER, STYLES

MASKED = -1e9
"""Logit of an impossible choice. Its probability is exactly 0, and gradients stay free of infinities."""

AUTO_TARGETS = 2
"""Choices of the target head under auto-targeting: no attack, or an attack."""


def policy_heads(config: WorldConfig, targeting: Targeting) -> dict[str, int]:
    """Returns ``name -> number of choices`` of every head of a policy, in order. These are the sizes of an
    action's heads, except for the target under auto-targeting."""
    return actions.action_heads(config) | ({"target": AUTO_TARGETS} if targeting == "auto" else {})


class Output(NamedTuple):
    """The outputs of the network for a batch of agents."""

    move: Tensor
    """[P, B, 5] logits; impossible moves hold MASKED."""
    style: Tensor
    """[P, B, 3] logits; impossible styles hold MASKED."""
    target: Tensor
    """[P, B, targets] logits, before the chosen style's mask."""
    target_mask: Tensor
    """[P, B, 3, targets] bool: targets possible under each style."""
    value: Tensor
    """[P, B] expected discounted reward, in units of 1 / (1 - gamma)."""
    state: Tensor | None
    """[P, B, hidden] recurrent state to pass in at the agents' next step; None without recurrence."""
    work: Tensor | None = None
    """[P, B, works] logits; impossible works hold MASKED. This and the following fields are None if the rules
    do not include work, trade or tokens, respectively."""
    trade: Tensor | None = None
    """[P, B, trades] logits; impossible trades hold MASKED."""
    price: Tensor | None = None
    """[P, B, prices] logits, before the chosen trade's mask."""
    price_mask: Tensor | None = None
    """[P, B, 3, prices] bool: prices possible without a sale or purchase, for a sale, for a purchase."""
    token: Tensor | None = None
    """[P, B, tokens] logits; impossible tokens hold MASKED."""


def mask_logits(
    logits: Tensor, views: dict[str, Tensor], targeting: Targeting, state: Tensor | None = None
) -> Output:
    """Splits logits by head and applies the masks.

    Args:
        logits: [..., n] float32, as returned by ``PolicyBase.unmasked``.
        views: fields of the observations to which the logits belong, ``name -> [..., *shape]``.
        targeting: as in ``PolicyConfig``.
        state: the recurrent state to include in the result.
    """
    more = {name: views[f"{name}_mask"] for name in actions.MORE_HEADS if f"{name}_mask" in views}
    widths = [mask.shape[-1] for mask in more.values()]
    targets = logits.shape[-1] - len(MOVES) - len(STYLES) - sum(widths) - 1
    sizes = [len(MOVES), len(STYLES), targets, *widths, 1]
    move, style, target, *others, value = torch.split(logits, sizes, -1)
    style_mask, target_mask = views["style_mask"], views["target_mask"]
    if targeting == "auto":
        strangers = (views["entity_kind"] >= STRANGER)[..., None, :]
        possible = (target_mask[..., 1:] & strangers).any(-1)
        target_mask = torch.stack((torch.ones_like(possible), possible), -1)
        style_mask = torch.cat((style_mask[..., :1], possible[..., 1:]), -1)
    return Output(
        move.masked_fill(~views["move_mask"], MASKED),
        style.masked_fill(~style_mask, MASKED),
        target,
        target_mask,
        value.squeeze(-1),
        state,
        **_masked(dict(zip(more, others, strict=True)), more),
    )


def _masked(logits: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the fields of ``Output`` for the heads of the full game."""
    fields: dict[str, Tensor] = {}
    for name, head in logits.items():
        if name == "price":
            fields |= {"price": head, "price_mask": masks[name]}
        else:
            fields[name] = head.masked_fill(~masks[name], MASKED)
    return fields
