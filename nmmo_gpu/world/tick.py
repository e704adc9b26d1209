"""One tick of every realm: the phases in the order of docs/rules.md."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.state import World
from nmmo_gpu.world.talk import talk


def step(
    world: World, backend: Backend, move: Tensor, style: Tensor, target: Tensor, work: Tensor | None = None,
    trade: Tensor | None = None, price: Tensor | None = None, token: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Runs one tick in place. All agents act simultaneously on their observations of the last tick's end.

    Choices of empty slots are ignored. The choices of the last four heads are those of
    ``nmmo_gpu.world.actions.action_heads``.

    Args:
        world: the world.
        backend: implementation of the phases (``nmmo_gpu.world.backend``).
        move: [R, A] int64, 0 to 4. ``move``, ``style`` and ``target`` can also be the results of
            ``backend.decode``.
        style: [R, A] int64, 0 to 2.
        target: [R, A] int64, slot in the same realm; -1 for no target.
        work: [R, A] integers; None if no agent works.
        trade: [R, A] integers; None if no agent trades.
        price: [R, A] integers; None if no agent trades.
        token: [R, A] integers; None if no agent speaks.

    Returns:
        style: [R, S] integers, NPCs included; valid until the next tick.
        target: [R, S] integers, likewise.
    """
    whole_tick = None if world.config.extended else backend.whole_tick
    if whole_tick is not None:
        whole_tick(world, move, style, target)  # the same phases in fewer launches
        return style, target
    world.acted += world.agents(world.alive).sum(1)
    world.cause.zero_()
    if token is not None and world.config.tokens:
        talk(world, token)
    if world.config.npc_slots:
        move, style, target = backend.npcs(world, move, style, target)
    backend.combat(world, style, target)
    if work is not None and world.config.works:
        backend.work(world, work)
    if world.config.exchange:
        if trade is None or price is None:
            trade = price = torch.zeros_like(world.agents(world.age))
        backend.exchange(world, trade, price)
    backend.movement(world, move)
    backend.spawning(world)
    if world.config.npc_slots:
        backend.npc_births(world)
    backend.regrowth(world)
    backend.upkeep(world)
    backend.explore(world)
    if world.config.extended:
        backend.loot(world)
    backend.burial(world)
    if world.config.extended:
        backend.growth(world)
    if world.config.exchange:
        backend.quotes(world)
    world.tick += 1
    return style, target
