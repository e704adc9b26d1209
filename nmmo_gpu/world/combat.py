"""Combat: every attack, on the positions at the start of the tick."""

from __future__ import annotations

from torch import Tensor

from nmmo_gpu.world.combat_rolls import fight, flat_blows, wound
from nmmo_gpu.world.state import World


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """Resolves all attacks at once; in the full game as ``nmmo_gpu.world.combat_rolls.fight``, else as
    follows.

    An attack has no effect if it has no target, or if the target is the attacker, dead or beyond the style's
    reach. The damage is subtracted from the target's health, unless it is immune. It is always subtracted
    from the target's food and water, and added to the attacker's. Gains and losses are summed before they are
    clamped, so the order does not matter.

    Args:
        style: [R, S] int64; 0 melee, 1 range, 2 mage.
        target: [R, S] int64, slot in the same realm; -1 for none.
    """
    cfg = world.config
    if cfg.extended:
        fight(world, style, target)
        return
    world.damage.zero_()
    if not any(cfg.damage):
        return
    _, victim, _, damage = flat_blows(world, style, target)
    hurt = ~world.immune().view(-1)[victim]
    wound(world, victim[hurt], damage[hurt])
