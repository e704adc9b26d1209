"""Choices of NPCs as compiled loops; twin of ``nmmo_gpu.world.npcs``."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content.tables import NPCRow
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import npcs as rule
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.npcs import chance, kind_of_slot
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_NPC_FIELDS = "alive entity row col age material occupant presence aggro_target aggro_entity aggro_ticks"

STREAM = int(Stream.NPC)
PROVOKED, ALWAYS = rule.PROVOKED, rule.ALWAYS
EAST, SOUTH, WEST, NORTH = rule.EAST, rule.SOUTH, rule.WEST, rule.NORTH
STEPS = np.array(MOVES, np.int64)
SIXTEEN = np.uint64(16)
ONE_BIT = np.uint64(1)
HUNTS, SIGHT, HABITAT, HEALTH = range(4)
"""Columns of ``habits``."""


def kinds(config: WorldConfig) -> Any:
    """Returns an [S] int64 array: kind of each NPC slot, -1 for the slots of agents."""
    return kind_of_slot(config, torch.device("cpu")).numpy()


@cache
def habits(rows: tuple[NPCRow, ...]) -> Any:
    """Returns a [kinds, 4] int64 array: properties of each kind of NPC."""
    columns = [(row.hunts, row.sight, row.habitat, row.health) for row in rows]
    return np.array(columns, np.int64).reshape(-1, 4)


@cache
def sights(rows: tuple[NPCRow, ...]) -> Any:
    """Returns an [n, 2] int64 array: offsets of tiles, nearest first. The sight of a kind is the number of
    tiles to examine."""
    return np.array(ring_order(max((row.sight for row in rows), default=0)), np.int64)


@compiled
def _nearest(r, y, x, sight, cells, age, occupant, presence, immune_ticks, populations):
    """Returns the slot of the nearest agent in sight that is not immune; -1 if there is none."""
    for i in range(1, (2 * sight + 1) ** 2):
        down, right = y + cells[i, 0], x + cells[i, 1]
        shown = presence[r, down, right]
        # Most tiles are empty or hold an NPC; only agents are examined further.
        if shown == 0 or shown > populations:
            continue
        who = occupant[r, down, right] - 1
        if age[r, who] >= immune_ticks:
            return who
    return -1


@compiled(allocates=False)
def _npcs(seed, tick, move, style, target, world, tables, config, low, high):
    (
        alive, entity, row, col, age, material, occupant, presence, aggro_target, aggro_entity, aggro_ticks
    ) = world  # fmt: skip
    kinds, habits, cells = tables
    immune_ticks, populations, wander = config
    slots = alive.shape[1]
    agents = slots - aggro_target.shape[1]
    for r in range(low, high):
        for a in range(agents, slots):
            move[r, a] = 0
            style[r, a] = 0
            target[r, a] = -1
            if not alive[r, a]:
                continue
            kind, n = kinds[a], a - agents
            hunts, sight = habits[kind, HUNTS], habits[kind, SIGHT]
            y, x = np.int64(row[r, a]), np.int64(col[r, a])
            quarry = -1
            if hunts == ALWAYS:
                quarry = _nearest(r, y, x, sight, cells, age, occupant, presence, immune_ticks, populations)
            elif hunts == PROVOKED and aggro_ticks[r, n] > 0:
                who = aggro_target[r, n]
                if (
                    who >= 0
                    and alive[r, who]
                    and entity[r, who] == aggro_entity[r, n]
                    and age[r, who] >= immune_ticks
                    and max(abs(row[r, who] - y), abs(col[r, who] - x)) <= sight
                ):
                    quarry = who
                aggro_ticks[r, n] -= 1
                if aggro_ticks[r, n] == 0:
                    aggro_target[r, n] = -1
                    aggro_entity[r, n] = -1

            south, east = 0, 0
            if quarry >= 0:
                south, east = row[r, quarry] - y, col[r, quarry] - x
                if abs(south) + abs(east) == 1:
                    target[r, a] = quarry
                    continue
            first, axis, heading, _ = draw(seed, tick, STREAM, r, a)
            if quarry >= 0:
                down, right = SOUTH if south > 0 else NORTH, EAST if east > 0 else WEST
                further = abs(south) - abs(east)
                direction = down if further > 0 or (further == 0 and axis & ONE_BIT != 0) else right
            elif np.int64(first >> SIXTEEN) < wander:
                direction = 1 + below(heading, 4)
            else:
                continue
            ground = material[r, y + STEPS[direction, 0], x + STEPS[direction, 1]]
            if habits[kind, HABITAT] >> ground & 1:
                move[r, a] = direction


def behind_agents(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns [R, S] int64 workspaces with the agents' choices, and space for those of the NPCs."""
    choices = []
    for name, chosen in (("moves", move), ("styles", style), ("targets", target)):
        choice = world.workspace(f"{name} of all", tuple(world.alive.shape), torch.int64)
        world.agents(choice).copy_(chosen)
        choices.append(choice)
    return choices[0], choices[1], choices[2]


def arguments(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_npcs``, except the range of realms; the choices are those of ``behind_agents``."""
    cfg = world.config
    rows = cfg.tables.npcs
    tables = kinds(cfg), habits(rows), sights(rows)
    config = cfg.immune_ticks, cfg.populations, chance(cfg.wander)
    choices = (chosen.numpy() for chosen in (move, style, target))
    return world.seed.numpy(), int(world.tick), *choices, arrays_of(_NPC_FIELDS, world), tables, config


def npcs(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``nmmo_gpu.world.npcs.npcs``; the next call overwrites the result."""
    actions = behind_agents(world, move, style, target)
    fixed = arguments(world, *actions)
    parallel(_npcs, [(*fixed, *piece) for piece in realm_slices(world.realms)])
    return actions
