"""Combat: every attack, on the positions at the start of the tick."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.combat_rolls import LARGEST_DAMAGE, MAGE, chebyshev, fight
from nmmo_gpu.world.state import Cause, World


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """Resolves all attacks at once; in the full game as ``nmmo_gpu.world.combat_rolls.fight`` does, else so.

    An attack on nobody, on oneself, on the dead, or beyond the style's reach does nothing. The damage comes
    off the target's health, unless it is immune; off its food and water in any case, and onto the
    attacker's. Gains and losses are summed, and only then clamped, so the order does not matter.

    Args:
        style: [R, S] int64; 0 melee, 1 range, 2 mage.
        target: [R, S] int64, slot in the same realm; -1 for nobody.
    """
    cfg = world.config
    if cfg.extended:
        fight(world, style, target)
        return
    world.damage.zero_()
    if not any(cfg.damage):
        return

    # Only the few who attack somebody are looked at: [k].
    attacker = ((target >= 0) & world.alive).view(-1).nonzero().squeeze(1)
    style = style.reshape(-1)[attacker]
    victim = attacker - attacker % cfg.slots + target.reshape(-1)[attacker]
    row, col = world.row.view(-1), world.col.view(-1)
    distance = chebyshev(row[attacker], col[attacker], row[victim], col[victim])
    damage = torch.tensor(cfg.damage, dtype=torch.int32, device=world.device)[style]
    reach = torch.tensor(cfg.reach, device=world.device)[style]
    hits = (distance <= reach) & (victim != attacker) & world.alive.view(-1)[victim] & (damage > 0)
    hit = hits.nonzero().squeeze(1)
    attacker, victim, style, damage = attacker[hit], victim[hit], style[hit], damage[hit]

    # A crowd can do more damage than 16 bits hold.
    lost = torch.zeros_like(world.row).view(-1).index_add_(0, victim, damage).view_as(world.row)
    gained = torch.zeros_like(lost)
    gained.view(-1)[attacker] = damage  # one attack per attacker
    drained = gained - lost
    world.food.copy_((world.food + drained).clamp_(0, cfg.max_food))
    world.water.copy_((world.water + drained).clamp_(0, cfg.max_water))
    lost.masked_fill_(world.immune(), 0)
    world.damage.copy_(lost.clamp(max=LARGEST_DAMAGE))
    world.health.copy_((world.health - lost).clamp_(min=0))
    world.chilled.view(-1)[victim[style == MAGE]] = True
    world.cause[world.alive & (world.health == 0)] = Cause.COMBAT
