"""One tick of every realm, as the rule book orders it."""

from __future__ import annotations

from torch import Tensor

from nmmo_gpu.world.rules import Rules
from nmmo_gpu.world.state import World


def step(world: World, rules: Rules, move: Tensor, style: Tensor, target: Tensor) -> None:
    """Runs one tick in place. Everybody acts on what it saw at the end of the last one, all at once.

    Args:
        rules: who runs the phases (``nmmo_gpu.world.rules``).
        move: [R, A], 0 to 4; style: [R, A], 0 to 2; both int64, or what ``rules.decode`` gives.
        target: [R, A], slot in the same realm; -1 for nobody.
        What the slots of the dead are told is ignored.
    """
    if rules.fused is not None:
        rules.fused(world, move, style, target)  # the same list, cut otherwise
        return
    world.acted += world.alive.sum(1)
    world.cause.zero_()
    rules.combat(world, style, target)
    rules.movement(world, move)
    rules.spawning(world)
    rules.regrowth(world)
    rules.upkeep(world)
    rules.explore(world)
    rules.burial(world)
    world.tick += 1
