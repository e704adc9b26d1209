"""A tick of the full game but for the observation, in one go; see ``nmmo_gpu.cpu.tick``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.cpu.burial import _burial, burial
from nmmo_gpu.cpu.burial import arguments as burial_arguments
from nmmo_gpu.cpu.combat_rolls import _fight, fight
from nmmo_gpu.cpu.combat_rolls import arguments as fight_arguments
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.exchange import _exchange, _quotes, exchange, quotes, quotes_arguments
from nmmo_gpu.cpu.exchange import arguments as exchange_arguments
from nmmo_gpu.cpu.growth import _growth, growth
from nmmo_gpu.cpu.growth import arguments as growth_arguments
from nmmo_gpu.cpu.loot import _loot, loot
from nmmo_gpu.cpu.loot import arguments as loot_arguments
from nmmo_gpu.cpu.movement import _movement, movement
from nmmo_gpu.cpu.movement import arguments as movement_arguments
from nmmo_gpu.cpu.npc_births import _npc_births, npc_births
from nmmo_gpu.cpu.npc_births import arguments as npc_births_arguments
from nmmo_gpu.cpu.npcs import _npcs, behind_agents, npcs
from nmmo_gpu.cpu.npcs import arguments as npcs_arguments
from nmmo_gpu.cpu.regrowth import _regrowth, regrowth
from nmmo_gpu.cpu.regrowth import arguments as regrowth_arguments
from nmmo_gpu.cpu.spawning import _spawning_of_the_equipped, goods, spawning
from nmmo_gpu.cpu.spawning import arguments as spawning_arguments
from nmmo_gpu.cpu.threads import parallel, realm_slices, shared
from nmmo_gpu.cpu.upkeep import _explore, _upkeep, explore, explore_arguments, upkeep
from nmmo_gpu.cpu.upkeep import arguments as upkeep_arguments
from nmmo_gpu.cpu.work import _work, work
from nmmo_gpu.cpu.work import arguments as work_arguments
from nmmo_gpu.world.state import World
from nmmo_gpu.world.talk import talk


@compiled
def _phases(
    think, fight, toil, trade, go, spawn, equip, breed, regrow, keep, discover, inherit, bury, grow, quote,
    agents, entities, area, low, high,
):  # fmt: skip
    """What is None belongs to a system that is off; then nothing is compiled for it."""
    for r in range(low, high):
        if think is not None:
            _npcs(*think, r, r + 1)
        _fight(*fight, r, r + 1)
        if toil is not None:
            _work(*toil, r, r + 1)
        if trade is not None:
            _exchange(trade[0], trade[1], r, r + 1)
        _movement(*go, r, r + 1)
        _spawning_of_the_equipped(spawn, equip, r, r + 1)
        if breed is not None:
            _npc_births(*breed, r, r + 1)
        _regrowth(*regrow, r * area, (r + 1) * area)
        _upkeep(*keep, r * entities, (r + 1) * entities)
        _explore(*discover, r * agents, (r + 1) * agents)
        _loot(*inherit, r, r + 1)
        _burial(*bury, r, r + 1)
        _growth(*grow, r * agents, (r + 1) * agents)
        if quote is not None:
            _quotes(*quote, r, r + 1)


def phases(
    world: World, move: Tensor, style: Tensor, target: Tensor, toil: Tensor | None = None,
    trade: Tensor | None = None, price: Tensor | None = None, token: Tensor | None = None,
) -> None:  # fmt: skip
    """The tick of ``nmmo_gpu.world.tick.step``, in its order."""
    cfg = world.config
    world.acted += world.players(world.alive).sum(1)
    world.cause.zero_()
    if token is not None and cfg.tokens:
        talk(world, token)
    # Of one type and layout, so that the loops are compiled once.
    chosen = [_plain(world, choice) for choice in (move, style, target, toil, trade, price)]
    if shared(world.realms, cfg.slots):
        _one_by_one(world, *chosen)
    else:
        _fused(world, *chosen)
    world.tick += 1


def _plain(world: World, choice: Tensor | None) -> Tensor:
    """[R, A] int64, contiguous; zeros for None."""
    if choice is None:
        return torch.zeros((world.realms, world.config.slots), dtype=torch.int64)
    return choice.to(torch.int64).contiguous()


def _one_by_one(
    world: World, move: Tensor, style: Tensor, target: Tensor, toil: Tensor, trade: Tensor, price: Tensor
) -> None:
    cfg = world.config
    if cfg.npc_slots:
        move, style, target = npcs(world, move, style, target)
    fight(world, style, target)
    if cfg.works:
        work(world, toil)
    if cfg.exchange:
        exchange(world, trade, price)
    movement(world, move)
    spawning(world)
    if cfg.npc_slots:
        npc_births(world)
    regrowth(world)
    upkeep(world)
    explore(world)
    loot(world)
    burial(world)
    growth(world)
    if cfg.exchange:
        quotes(world)


def _fused(
    world: World, move: Tensor, style: Tensor, target: Tensor, toil: Tensor, trade: Tensor, price: Tensor
) -> None:
    cfg = world.config
    think = None
    if cfg.npc_slots:
        move, style, target = behind_agents(world, move, style, target)
        think = npcs_arguments(world, move, style, target)
    fixed = (
        think,
        fight_arguments(world, style, target),
        work_arguments(world, toil) if cfg.works else None,
        exchange_arguments(world, trade, price) if _trading(cfg) else None,
        movement_arguments(world, move),
        spawning_arguments(world),
        goods(world),
        npc_births_arguments(world) if cfg.npc_slots else None,
        regrowth_arguments(world),
        upkeep_arguments(world),
        explore_arguments(world),
        loot_arguments(world),
        burial_arguments(world),
        growth_arguments(world),
        quotes_arguments(world) if _trading(cfg) else None,
        cfg.slots,
        cfg.entities,
        cfg.height * cfg.width,
    )
    parallel(_phases, [(*fixed, *piece) for piece in realm_slices(world.realms)])


def _trading(config: WorldConfig) -> bool:
    """Whether there is an exchange, and something to be exchanged."""
    return config.exchange and bool(config.tables.items)
