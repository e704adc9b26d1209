"""Choices of NPCs as compiled loops; twin of ``nmmo_gpu.world.npcs``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content.tables import NPCRow
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import npcs as rule
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.npcs import chance, kind_of_slot
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_NpcFields = namedtuple(
    "_NpcFields",
    "seed tick alive entity row col age material occupant presence aggro_target aggro_entity aggro_ticks",
)
_NpcConfig = namedtuple("_NpcConfig", "immune_ticks populations wander")
"""``wander``: as a threshold of 16-bit words."""
_NpcTables = namedtuple("_NpcTables", "kinds habits cells")
"""See the functions ``kinds``, ``habits`` and ``sights``."""
_Choices = namedtuple("_Choices", "move style target")
"""[R, S] int64: those of all slots."""

STREAM = int(Stream.NPC)
PROVOKED, ALWAYS = rule.PROVOKED, rule.ALWAYS
EAST, SOUTH, WEST, NORTH = rule.EAST, rule.SOUTH, rule.WEST, rule.NORTH
STEPS = np.array(MOVES, np.int64)
SIXTEEN = np.uint64(16)
ONE_BIT = np.uint64(1)
HUNTS, SIGHT, HABITAT, HEALTH = range(4)
"""Columns of ``habits``."""


def kinds(config: WorldConfig) -> Any:
    """[S] int64 array: kind of each NPC slot, -1 for the slots of agents."""
    return kind_of_slot(config, torch.device("cpu")).numpy()


@cache
def habits(rows: tuple[NPCRow, ...]) -> Any:
    """[kinds, 4] int64 array: properties of each kind of NPC."""
    columns = [(row.hunts, row.sight, row.habitat, row.health) for row in rows]
    return np.array(columns, np.int64).reshape(-1, 4)


@cache
def sights(rows: tuple[NPCRow, ...]) -> Any:
    """[n, 2] int64 array: offsets of tiles, nearest first. The sight of a kind is the number of tiles to
    examine."""
    return np.array(ring_order(max((row.sight for row in rows), default=0)), np.int64)


@compiled(inline="always")
def _nearest(world, tables, config, r, y, x, sight):
    """Slot of the nearest agent in sight that is not immune; -1 if there is none."""
    cells, presence = tables.cells, world.presence
    for i in range(1, (2 * sight + 1) ** 2):
        down, right = y + cells[i, 0], x + cells[i, 1]
        shown = presence[r, down, right]
        # Most tiles are empty or hold an NPC; only agents are examined further.
        if shown == 0 or shown > config.populations:
            continue
        who = world.occupant[r, down, right] - 1
        if world.age[r, who] >= config.immune_ticks:
            return who
    return -1


@compiled(inline="always")
def _provoker(world, config, r, n, y, x, sight):
    """Slot of the agent at which NPC ``n`` is angry, if it can be pursued; -1 otherwise. Anger subsides."""
    if world.aggro_ticks[r, n] == 0:
        return -1
    quarry = -1
    who = world.aggro_target[r, n]
    if (
        who >= 0
        and world.alive[r, who]
        and world.entity[r, who] == world.aggro_entity[r, n]
        and world.age[r, who] >= config.immune_ticks
        and max(abs(world.row[r, who] - y), abs(world.col[r, who] - x)) <= sight
    ):
        quarry = who
    world.aggro_ticks[r, n] -= 1
    if world.aggro_ticks[r, n] == 0:
        world.aggro_target[r, n] = -1
        world.aggro_entity[r, n] = -1
    return quarry


@compiled(inline="always")
def _approach(south, east, axis):
    """The direction that leads towards a quarry; ``axis``: random word for ties."""
    down, right = SOUTH if south > 0 else NORTH, EAST if east > 0 else WEST
    further = abs(south) - abs(east)
    return down if further > 0 or (further == 0 and axis & ONE_BIT != 0) else right


@compiled
def _npcs(world, choices, tables, config, low, high):
    slots = world.alive.shape[1]
    agents = slots - world.aggro_target.shape[1]
    for r in range(low, high):
        for a in range(agents, slots):
            choices.move[r, a] = 0
            choices.style[r, a] = 0
            choices.target[r, a] = -1
            if not world.alive[r, a]:
                continue
            kind = tables.kinds[a]
            hunts, sight = tables.habits[kind, HUNTS], tables.habits[kind, SIGHT]
            y, x = np.int64(world.row[r, a]), np.int64(world.col[r, a])
            quarry = np.int64(-1)
            if hunts == ALWAYS:
                quarry = _nearest(world, tables, config, r, y, x, sight)
            elif hunts == PROVOKED:
                quarry = _provoker(world, config, r, a - agents, y, x, sight)

            south, east = 0, 0
            if quarry >= 0:
                south, east = world.row[r, quarry] - y, world.col[r, quarry] - x
                if abs(south) + abs(east) == 1:
                    choices.target[r, a] = quarry
                    continue
            first, axis, heading, _ = draw(world, STREAM, r, a)
            if quarry >= 0:
                direction = _approach(south, east, axis)
            elif np.int64(first >> SIXTEEN) < config.wander:
                direction = 1 + below(heading, 4)
            else:
                continue
            ground = world.material[r, y + STEPS[direction, 0], x + STEPS[direction, 1]]
            if tables.habits[kind, HABITAT] >> ground & 1:
                choices.move[r, a] = direction


def behind_agents(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[R, S] int64, workspaces: the agents' choices, and room for those of the NPCs."""
    rooms = []
    for name, chosen in (("moves", move), ("styles", style), ("targets", target)):
        room = world.workspace(f"{name} of all", tuple(world.alive.shape), torch.int64)
        world.agents(room).copy_(chosen)
        rooms.append(room)
    return rooms[0], rooms[1], rooms[2]


def arguments(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_npcs``, except the range of realms; the choices as ``behind_agents`` gives them."""
    cfg = world.config
    rows = cfg.tables.npcs
    tables = _NpcTables(kinds(cfg), habits(rows), sights(rows))
    config = fields_of(_NpcConfig, cfg, wander=chance(cfg.wander))
    choices = _Choices(move.numpy(), style.numpy(), target.numpy())
    return arrays_of(_NpcFields, world), choices, tables, config


def npcs(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``nmmo_gpu.world.npcs.npcs``; the next call overwrites the result."""
    everybody = behind_agents(world, move, style, target)
    fixed = arguments(world, *everybody)
    parallel(_npcs, [(*fixed, *piece) for piece in realm_slices(world.realms)])
    return everybody
