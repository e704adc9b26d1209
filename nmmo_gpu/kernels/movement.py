"""Movement in three kernels; twin of ``nmmo_gpu.world.movement``."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.kernels.contest import wins
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

STREAM = tl.constexpr(int(Stream.MOVE))
WALKABLE = sum(1 << material for material in Material if MATERIALS[material].walkable)
"""One bit per material."""
ENTERABLE = tl.constexpr(WALKABLE)


@triton.jit
def down(direction):
    """Rows by which a move goes south: east 1, south 2, west 3, north 4."""
    return (direction == 2).to(tl.int32) - (direction == 4).to(tl.int32)


@triton.jit
def right(direction):
    """Columns by which a move goes east."""
    return (direction == 1).to(tl.int32) - (direction == 3).to(tl.int32)


@triton.jit
def walkable(material):
    """Whether tiles of a material (uint8) can be entered."""
    return ((ENTERABLE >> material.to(tl.int32)) & 1) != 0


@triton.jit
def intend(
    realm, agent, inside, able, move, row, col, material, presence, intent,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Writes the direction in which each slot intends to move, if the move may succeed; 0 for none. Reads
    only data that no program of the launch writes, and writes its own slots only."""
    direction = tl.load(move + agent, mask=able, other=0).to(tl.int32)
    able = able & (direction > 0)
    at = tl.load(row + agent, mask=able, other=0) + down(direction)
    goal = at * WIDTH + tl.load(col + agent, mask=able, other=0) + right(direction)
    plane = realm * (HEIGHT * WIDTH)
    able = able & walkable(tl.load(material + plane + goal, mask=able, other=0))
    able = able & (tl.load(presence + plane + goal, mask=able, other=1) == 0)
    tl.store(intent + agent, tl.where(able, direction, 0).to(tl.uint8), mask=inside)


@triton.jit
def _intend(
    alive, health, freeze, move, row, col, material, presence, intent, slots, chunks,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each slot is written only by its own program."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    able = inside & (tl.load(alive + agent, mask=inside, other=0) != 0)
    able = able & (tl.load(freeze + agent, mask=able, other=1) == 0)
    able = able & (tl.load(health + agent, mask=able, other=0) > 0)
    intend(realm, agent, inside, able, move, row, col, material, presence, intent, HEIGHT, WIDTH)


@triton.jit
def _contest(
    seed, tick, intent, row, col, occupant, won, slots, chunks,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Decides which intents win.

    Order-free: reads intents and occupants, which do not change here, and writes its own slots only."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    direction = tl.load(intent + agent, mask=inside, other=0).to(tl.int32)
    claims = direction > 0
    goal_row = tl.load(row + agent, mask=claims, other=0) + down(direction)
    goal_col = tl.load(col + agent, mask=claims, other=0) + right(direction)
    lucky = wins(
        seed, tick, STREAM, realm, goal_row, goal_col, direction, intent, occupant, slots, HEIGHT, WIDTH
    )
    tl.store(won + agent, tl.where(lucky, direction, 0).to(tl.uint8), mask=inside)


@triton.jit
def _commit(
    won, heading, row, col, occupant, presence, slots, chunks, population_size,
    NPCS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Moves the winners.

    Order-free: a target tile was empty and has one winner, and a tile that is left is not a target, so no two
    programs write the same location."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    direction = tl.load(won + agent, mask=inside, other=0).to(tl.int32)
    goes = direction > 0
    from_row, from_col = tl.load(row + agent, mask=goes, other=0), tl.load(col + agent, mask=goes, other=0)
    to_row, to_col = from_row + down(direction), from_col + right(direction)
    plane = realm * (HEIGHT * WIDTH)
    origin, goal = plane + from_row * WIDTH + from_col, plane + to_row * WIDTH + to_col
    tl.store(occupant + goal, slot + 1, mask=goes)
    tl.store(occupant + origin, tl.zeros([BLOCK], tl.int32), mask=goes)
    if NPCS > 0:
        shows = tl.load(presence + origin, mask=goes, other=0)
    else:  # the old value is known without reading it
        shows = (slot // population_size + 1).to(tl.uint8)
    tl.store(presence + goal, shows, mask=goes)
    tl.store(presence + origin, tl.zeros([BLOCK], tl.uint8), mask=goes)
    tl.store(heading + agent, direction.to(tl.uint8), mask=goes)
    tl.store(row + agent, to_row, mask=goes)
    tl.store(col + agent, to_col, mask=goes)


def intents(world: World) -> Tensor:
    """Workspace [R, S] uint8: the direction in which each slot intends to move."""
    return world.workspace("intent", tuple(world.alive.shape), torch.uint8)


def map_size(world: World) -> dict[str, Any]:
    """Height and width as constants."""
    return {"HEIGHT": world.config.height, "WIDTH": world.config.width}


def settle_contests(world: World) -> None:
    """Turns intents into the moves of the winners."""
    cut = over_slots(*world.alive.shape)
    won = world.workspace("won", tuple(world.alive.shape), torch.uint8)
    launch(
        _contest, cut.programs, world.seed, world.tick, intents(world), world.row, world.col, world.occupant,
        won, cut.slots, cut.chunks, BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip
    launch(
        _commit, cut.programs, won, world.heading, world.row, world.col, world.occupant, world.presence,
        cut.slots, cut.chunks, world.config.population_size, NPCS=world.config.npc_slots,
        BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip


def movement(world: World, move: Tensor) -> None:
    """See ``nmmo_gpu.world.movement.movement``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _intend, cut.programs, world.alive, world.health, world.freeze, move, world.row, world.col,
        world.material, world.presence, intents(world), cut.slots, cut.chunks,
        BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip
    settle_contests(world)
