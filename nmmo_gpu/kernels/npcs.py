"""Choices of NPCs in one kernel; twin of ``nmmo_gpu.world.npcs``."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.kernels.launch import INTERPRETED, WARP, fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import down, right
from nmmo_gpu.kernels.random import below, draw
from nmmo_gpu.kernels.slots import my_slots, position
from nmmo_gpu.world import npcs as rule
from nmmo_gpu.world.npcs import chance, kind_of_slot
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_Fields = namedtuple(
    "_Fields",
    "seed tick alive entity row col age material occupant presence aggro_target aggro_entity aggro_ticks",
)
_Given = namedtuple("_Given", "move style target")
"""The choices of the agents."""
_Orders = namedtuple("_Orders", "moves styles targets")
"""The choices of all slots."""
_Config = namedtuple("_Config", "immune_ticks height width cells")
"""``cells``: number of cells in ``sights``."""

STREAM = tl.constexpr(int(Stream.NPC))
PROVOKED, ALWAYS = tl.constexpr(rule.PROVOKED), tl.constexpr(rule.ALWAYS)
EAST, SOUTH, WEST, NORTH = (tl.constexpr(d) for d in (rule.EAST, rule.SOUTH, rule.WEST, rule.NORTH))
PIECE = tl.constexpr(128 if INTERPRETED else 8)
"""Number of tiles that a hunter examines at once."""
NOWHERE = tl.constexpr(1 << 20)
"""Greater than the index of any tile in sight."""
SLOTS_PER_PROGRAM = None if INTERPRETED else WARP
"""One warp per program: in larger ones, ptxas with Triton 3.4 spills registers."""


@cache
def _kinds(config: WorldConfig, device: torch.device) -> Tensor:
    return kind_of_slot(config, device).to(torch.int32)


def kinds(world: World) -> Tensor:
    """Returns [S] int32: kind of each NPC slot, -1 for the slots of agents; cached."""
    return _kinds(world.config, world.device)


@cache
def _natures(config: WorldConfig, device: torch.device) -> Tensor:
    rows = config.tables.npcs
    words = [
        row.habitat | row.hunts << 8 | row.sight << 10 | row.health << 14 | kind << 21
        for kind, row in enumerate(rows)
    ]
    of_kinds = torch.tensor([*words, 0], dtype=torch.int32, device=device)
    return of_kinds[kind_of_slot(config, device)]


def natures(world: World) -> Tensor:
    """Returns [S] int32: the properties of each NPC's kind, packed in one word, which ``habitat`` and the
    functions below unpack; 0 for the slots of agents. Cached."""
    return _natures(world.config, world.device)


@triton.jit
def habitat(nature):
    """Returns the materials on which the kind lives, one bit each."""
    return nature & 0xFF


@triton.jit
def hunts(nature):
    """Returns when the kind hunts: 0 never, 1 if provoked, 2 always."""
    return (nature >> 8) & 3


@triton.jit
def sight(nature):
    """Returns the range of sight, in tiles."""
    return (nature >> 10) & 15


@triton.jit
def health_of(nature):
    """Returns the health at birth."""
    return (nature >> 14) & 127


@triton.jit
def kind_of(nature):
    """Returns the index of the kind."""
    return (nature >> 21) & 127


@triton.jit
def nearest(
    world, realm, hunts_now, here, tiles, cells, slots, populations, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Returns [BLOCK] int32: slot of the nearest agent that is not immune on the first ``tiles`` cells around
    each tile ``here``; -1 for none.

    Several cells are examined at once, so that a program waits for memory a few times and not once per cell.
    Most tiles are empty or hold an NPC, which one byte per tile shows."""
    best = tl.full([BLOCK], NOWHERE, tl.int32)
    for start in range(1, config.cells, PIECE):
        cell = start + tl.arange(0, PIECE)
        offset = tl.load(cells + cell, mask=cell < config.cells, other=0)
        entity_attributes = (hunts_now & (best == NOWHERE))[:, None] & (cell[None, :] < tiles[:, None])
        at = here[:, None] + offset[None, :]
        shown = tl.load(world.presence + at, mask=entity_attributes, other=0).to(tl.int32)
        agent = entity_attributes & (shown > 0) & (shown <= populations)
        who = tl.load(world.occupant + at, mask=agent, other=1) - 1
        age = tl.load(world.age + realm * slots + who, mask=agent, other=0)
        targetable = agent & (age >= config.immune_ticks)
        found = tl.min(tl.where(targetable, cell[None, :], NOWHERE), 1)
        best = tl.minimum(best, found)
    sees = best < NOWHERE
    there = here + tl.load(cells + best, mask=sees, other=0)
    return tl.load(world.occupant + there, mask=sees, other=0) - 1


@triton.jit
def provoker(
    world, realm, npc, provoked, line, column, far, slots, config: tl.constexpr, BLOCK: tl.constexpr
):
    """Returns [BLOCK] int32: slot of the agent that each provoked NPC fights; -1 for none. Decrements
    ``aggro_ticks``."""
    left = tl.load(world.aggro_ticks + npc, mask=provoked, other=0).to(tl.int32)
    angry = left > 0
    whom = tl.load(world.aggro_target + npc, mask=angry, other=-1)
    fights = angry & (whom >= 0)
    at = realm * slots + whom
    its_id = tl.load(world.aggro_entity + npc, mask=fights, other=-1)
    fights = fights & (tl.load(world.alive + at, mask=fights, other=0) != 0)
    fights = fights & (tl.load(world.entity + at, mask=fights, other=-1) == its_id)
    fights = fights & (tl.load(world.age + at, mask=fights, other=0) >= config.immune_ticks)
    rows = tl.abs(tl.load(world.row + at, mask=fights, other=0) - line)
    columns = tl.abs(tl.load(world.col + at, mask=fights, other=0) - column)
    fights = fights & (tl.maximum(rows, columns) <= far)
    tl.store(world.aggro_ticks + npc, (left - 1).to(tl.uint8), mask=angry)
    calm = angry & (left == 1)
    tl.store(world.aggro_target + npc, tl.full([BLOCK], -1, tl.int32), mask=calm)
    tl.store(world.aggro_entity + npc, tl.full([BLOCK], -1, tl.int64), mask=calm)
    return tl.where(fights, whom, -1)


@triton.jit
def _npcs(
    world, given, orders, natures, cells, slots, chunks, agents, populations, wander, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Copies the choices of agents, and makes those of NPCs.

    Order-free: a slot's choices, ``aggro_ticks`` and targets are written only by its own program, which alone
    reads the latter two; everything else is only read."""
    realm, slot, entry, inside = my_slots(slots, chunks, BLOCK)
    player = inside & (slot < agents)
    mine = realm * agents + slot
    direction = tl.load(given.move + mine, mask=player, other=0).to(tl.int32)
    style = tl.load(given.style + mine, mask=player, other=0).to(tl.uint8)
    tl.store(orders.styles + entry, style, mask=inside)
    whom = tl.load(given.target + mine, mask=player, other=-1).to(tl.int32)

    lives = inside & (slot >= agents)
    lives = lives & (tl.load(world.alive + entry, mask=lives, other=0) != 0)
    if tl.max(lives.to(tl.int32), 0) > 0:
        nature = tl.load(natures + slot, mask=lives, other=0)
        line, column = position(world, entry, lives)
        here = realm * (config.height * config.width) + line * config.width + column
        npc = realm * (slots - agents) + slot - agents
        quarry = provoker(
            world, realm, npc, lives & (hunts(nature) == PROVOKED), line, column, sight(nature), slots,
            config, BLOCK,
        )  # fmt: skip
        if config.cells > 1:
            hunter = lives & (hunts(nature) == ALWAYS)
            if tl.max(hunter.to(tl.int32), 0) > 0:
                side = 2 * sight(nature) + 1
                found = nearest(
                    world, realm, hunter, here, side * side, cells, slots, populations, config, BLOCK
                )
                quarry = tl.maximum(quarry, found)

        hunting = quarry >= 0
        south = tl.load(world.row + realm * slots + quarry, mask=hunting, other=0) - line
        east = tl.load(world.col + realm * slots + quarry, mask=hunting, other=0) - column
        further = tl.abs(south) - tl.abs(east)
        strikes = hunting & (tl.abs(south) + tl.abs(east) == 1)
        first, axis, heading, _ = draw(world, STREAM, realm, slot)
        by_row = (further > 0) | ((further == 0) & ((axis & 1) != 0))
        chases = tl.where(by_row, tl.where(south > 0, SOUTH, NORTH), tl.where(east > 0, EAST, WEST))
        steps = (first >> 16).to(tl.int32) < wander
        wanders = tl.where(steps, 1 + below(heading, tl.full([BLOCK], 4, tl.int32)), 0)
        goes = tl.where(hunting, chases, wanders)
        goes = tl.where(lives & (strikes == 0), goes, 0)
        goal = here + down(goes) * config.width + right(goes)
        ground = tl.load(world.material + goal, mask=goes > 0, other=0).to(tl.int32)
        goes = tl.where(((habitat(nature) >> ground) & 1) != 0, goes, 0)
        direction = tl.where(lives, goes, direction)
        whom = tl.where(strikes, quarry, whom)
    tl.store(orders.moves + entry, direction.to(tl.uint8), mask=inside)
    tl.store(orders.targets + entry, whom, mask=inside)


def sights(world: World) -> Tensor:
    """Returns [n] int32: offsets within a map, row * width + column, of the cells in sight of the always
    hunting kind with the longest sight; nearest first. One cell if no kind hunts."""
    rows = world.config.tables.npcs
    furthest = max((row.sight for row in rows if row.hunts == rule.ALWAYS), default=0)
    offsets = tuple(line * world.config.width + column for line, column in ring_order(furthest))
    return tensor(offsets, world.device, torch.int32)


def npcs(world: World, move: Tensor, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``nmmo_gpu.world.npcs.npcs``; returns (uint8, uint8, int32), which the next call overwrites."""
    cfg = world.config
    shape = tuple(world.alive.shape)
    cut = over_slots(*shape, SLOTS_PER_PROGRAM)
    given = _Given(move.contiguous(), style.contiguous(), target.contiguous())
    orders = _Orders(
        world.workspace("moves of all", shape, torch.uint8),
        world.workspace("styles of all", shape, torch.uint8),
        world.workspace("targets of all", shape, torch.int32),
    )
    cells = sights(world)
    launch(
        _npcs, cut.programs, fields_of(_Fields, world), given, orders, natures(world), cells, cut.slots,
        cut.chunks, cfg.slots, cfg.populations, chance(cfg.wander),
        config=fields_of(_Config, cfg, cells=cells.numel()), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    return orders.moves, orders.styles, orders.targets
