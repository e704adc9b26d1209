"""Outputs of the policy network: one field per head, impossible choices masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import STOCK_HEADS
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
    others: tuple[Tensor, ...] = ()
    """[P, B, choices] logits of each head of a system, in order; impossible choices hold MASKED."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Output:
        """Returns the results of a function for each tensor."""
        parts = dict(self._asdict(), others=None)
        parts = {name: None if part is None else function(part) for name, part in parts.items()}
        return Output(**parts | {"others": tuple(map(function, self.others))})


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
    of_systems = [mask for name, mask in views.items() if _is_mask_of_system(name)]
    widths = [mask.shape[-1] for mask in (*more.values(), *of_systems)]
    targets = logits.shape[-1] - len(MOVES) - len(STYLES) - sum(widths) - 1
    sizes = [len(MOVES), len(STYLES), targets, *widths, 1]
    move, style, target, *extra, value = torch.split(logits, sizes, -1)
    others = zip(extra[len(more) :], of_systems, strict=True)
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
        others=tuple(head.masked_fill(~mask, MASKED) for head, mask in others),
        **_masked(dict(zip(more, extra, strict=False)), more),
    )


def _is_mask_of_system(name: str) -> bool:
    head, _, mask = name.rpartition("_")
    return mask == "mask" and head not in STOCK_HEADS and "." not in head


def _masked(logits: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the fields of ``Output`` for the heads of the full game."""
    fields: dict[str, Tensor] = {}
    for name, head in logits.items():
        if name == "price":
            fields |= {"price": head, "price_mask": masks[name]}
        else:
            fields[name] = head.masked_fill(~masks[name], MASKED)
    return fields


def auto_target(views: dict[str, Tensor], style: Tensor) -> Tensor:
    """Returns the row (counted from 1) of the nearest stranger or NPC in reach of the style; 0 for none.

    Args:
        views: fields of observations, ``name -> [..., *shape]``.
        style: [...] int64, the attack style of each agent.

    Returns:
        [...] int64.
    """
    reach = actions.row_of(views["target_mask"], style)[..., 1:]
    wanted = reach & (views["entity_kind"] >= STRANGER)
    first = wanted.to(torch.uint8).argmax(-1) + 1
    return torch.where(wanted.any(-1), first, 0)
