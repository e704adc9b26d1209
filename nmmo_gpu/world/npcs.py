"""Choices of NPCs: they wander, chase and attack, based on the positions at the start of the tick."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content.tables import ONE, tensor
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World

PROVOKED, ALWAYS = 1, 2
"""Values of ``NPCRow.hunts``."""
EAST, SOUTH, WEST, NORTH = 1, 2, 3, 4


@cache
def _kinds(counts: tuple[int, ...], slots: int, device: torch.device) -> Tensor:
    kinds = torch.arange(len(counts), dtype=torch.int64, device="cpu")
    of_npcs = kinds.repeat_interleave(torch.tensor(counts, dtype=torch.int64, device="cpu"))
    return torch.cat((torch.full((slots,), -1, dtype=torch.int64, device="cpu"), of_npcs)).to(device)


def kind_of_slot(config: WorldConfig, device: torch.device) -> Tensor:
    """[S] int64: the kind (index in ``Tables.npcs``) of each NPC slot, -1 for the slots of agents; cached."""
    return _kinds(config.npc_counts, config.slots, device)


def chance(probability: float) -> int:
    """A probability in units of 1/65536."""
    return round(probability * ONE)


def npcs(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The choices of NPCs, appended to those of the agents.

    An NPC with a target attacks it in melee if it is adjacent (4-neighborhood), otherwise moves towards it
    along the longer axis. A kind that always hunts targets the nearest agent in sight that is not immune,
    ties row by row. A provoked NPC targets the agent that hit it, as long as ``aggro_ticks`` last and it is
    the same agent, alive, in sight and not immune. An NPC without a target wanders. NPCs never leave their
    habitat. ``aggro_ticks`` are decremented here, after the choice.

    Args:
        move: [R, A] integers, the agents' choices.
        style: [R, A] integers.
        target: [R, A] integers: slots, -1 for no target.

    Returns:
        move: [R, S] int64, the choices of agents and NPCs.
        style: [R, S] int64.
        target: [R, S] int64.
    """
    cfg = world.config
    agents = cfg.slots
    all_moves, all_styles, all_targets = (
        torch.cat((chosen.to(torch.int64), chosen.new_full((world.realms, cfg.npc_slots), idle).long()), 1)
        for chosen, idle in ((move, 0), (style, 0), (target, -1))
    )
    realm, npc = world.alive[:, agents:].nonzero().unbind(1)
    if not npc.numel():
        return all_moves, all_styles, all_targets
    slot = npc + agents
    kind = kind_of_slot(cfg, world.device)[slot]
    quarry = _hunted(world, realm, slot, kind)
    provoked = _provoker(world, realm, npc, kind)
    quarry = torch.where(provoked >= 0, provoked, quarry)

    wander, axis, way, _ = draw(world.seed, world.tick, Stream.NPC, realm, slot)
    hunting = quarry >= 0
    whom = quarry.clamp(min=0)
    south = torch.where(hunting, world.row[realm, whom] - world.row[realm, slot], 0)
    east = torch.where(hunting, world.col[realm, whom] - world.col[realm, slot], 0)
    strikes = hunting & (south.abs() + east.abs() == 1)
    by_row = (south.abs() > east.abs()) | ((south.abs() == east.abs()) & (axis & 1 == 1))
    vertical, horizontal = torch.where(south > 0, SOUTH, NORTH), torch.where(east > 0, EAST, WEST)
    chases = torch.where(by_row, vertical, horizontal)
    wanders = torch.where(below(wander, ONE) < chance(cfg.wander), 1 + below(way, 4), 0)
    direction = torch.where(strikes, 0, torch.where(hunting, chases, wanders))

    offset = tensor(MOVES, world.device)[direction]
    ground = world.material[
        realm, world.row[realm, slot] + offset[:, 0], world.col[realm, slot] + offset[:, 1]
    ]
    lives_there = habitats(world, kind) >> ground & 1 == 1
    all_moves[realm, slot] = torch.where(lives_there, direction, 0)
    all_targets[realm, slot] = torch.where(strikes, quarry, -1)
    _calm_down(world)
    return all_moves, all_styles, all_targets


def habitats(world: World, kind: Tensor) -> Tensor:
    """The habitat of each NPC, one bit per material; shaped like ``kind``, int64."""
    return tensor(tuple(row.habitat for row in world.config.tables.npcs), world.device)[kind]


def _hunted(world: World, realm: Tensor, slot: Tensor, kind: Tensor) -> Tensor:
    """[n] int64: the slot of the nearest agent in sight of those NPCs that always hunt; -1 for none."""
    cfg = world.config
    nearest = torch.full_like(slot, -1)
    for number, row in enumerate(cfg.tables.npcs):
        if row.hunts != ALWAYS or not cfg.npc_counts[number]:
            continue
        hunter = (kind == number).nonzero().squeeze(1)
        at = realm[hunter], slot[hunter]
        cells = tensor(ring_order(row.sight), world.device)
        rows = world.row[at][:, None] + cells[:, 0]
        cols = world.col[at][:, None] + cells[:, 1]
        # Few tiles are occupied, and few of these by an agent; only these are examined.
        shown = world.presence[at[0][:, None], rows, cols]
        some, cell = ((shown > 0) & (shown <= cfg.populations)).nonzero().unbind(1)
        who = world.occupant[at[0][some], rows[some, cell], cols[some, cell]].long() - 1
        fair = world.age[at[0][some], who] >= cfg.immune_ticks
        first = torch.full_like(hunter, len(cells))
        first.scatter_reduce_(0, some[fair], cell[fair], "amin")
        found = first < len(cells)
        some, cell = found.nonzero().squeeze(1), first[found]
        where = at[0][some], rows[some, cell], cols[some, cell]
        nearest[hunter[some]] = world.occupant[where].long() - 1
    return nearest


def _provoker(world: World, realm: Tensor, npc: Tensor, kind: Tensor) -> Tensor:
    """[n] int64: the slot of the agent that a provoked NPC fights; -1 for none."""
    cfg = world.config
    rows = cfg.tables.npcs
    hunts = tensor(tuple(row.hunts for row in rows), world.device)[kind]
    sight = tensor(tuple(row.sight for row in rows), world.device)[kind]
    aggro_target, slot = world.aggro_target[realm, npc].long(), npc + cfg.slots
    whom, first = aggro_target.clamp(min=0), realm * cfg.entities
    at, apart = (realm, whom), world.apart(first + whom, first + slot)
    fights = (
        (hunts == PROVOKED) & (world.aggro_ticks[realm, npc] > 0) & (aggro_target >= 0) & world.alive[at]
        & (world.entity[at] == world.aggro_entity[realm, npc]) & (world.age[at] >= cfg.immune_ticks)
        & (apart <= sight)
    )  # fmt: skip
    return torch.where(fights, aggro_target, -1)


def _calm_down(world: World) -> None:
    """Decrements the aggro_ticks of provoked NPCs, and clears the target of those whose aggro_ticks reach
    0."""
    cfg = world.config
    kind = kind_of_slot(cfg, world.device)[cfg.slots :]
    provoked = tensor(tuple(row.hunts == PROVOKED for row in cfg.tables.npcs), world.device)[kind] != 0
    angry = world.alive[:, cfg.slots :] & provoked & (world.aggro_ticks > 0)
    world.aggro_ticks -= angry.to(torch.uint8)
    calm = angry & (world.aggro_ticks == 0)
    world.aggro_target.masked_fill_(calm, -1)
    world.aggro_entity.masked_fill_(calm, -1)
