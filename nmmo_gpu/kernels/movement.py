"""Movement in three kernels; twin of ``nmmo_gpu.world.movement``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.kernels.contest import wins
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_IntendFields = namedtuple("_IntendFields", "alive health freeze row col material presence")
_ContestFields = namedtuple("_ContestFields", "seed tick row col occupant")
_CommitFields = namedtuple("_CommitFields", "heading row col occupant presence")
_Map = namedtuple("_Map", "height width")
_CommitConfig = namedtuple("_CommitConfig", "height width npc_slots")

STREAM = tl.constexpr(int(Stream.MOVE))
WALKABLE = sum(1 << material for material in Material if MATERIALS[material].walkable)
"""One bit per material."""
ENTERABLE = tl.constexpr(WALKABLE)


@triton.jit
def down(direction):
    """Returns the rows by which a move goes south. Moves: east 1, south 2, west 3, north 4."""
    return (direction == 2).to(tl.int32) - (direction == 4).to(tl.int32)


@triton.jit
def right(direction):
    """Returns the columns by which a move goes east."""
    return (direction == 1).to(tl.int32) - (direction == 3).to(tl.int32)


@triton.jit
def walkable(material):
    """Returns whether tiles of a material (uint8) can be entered."""
    return ((ENTERABLE >> material.to(tl.int32)) & 1) != 0


@triton.jit
def intend(world, realm, entity, inside, able, move, intent, config: tl.constexpr):
    """Writes the direction in which each slot intends to move, if the move may succeed; 0 for none. Reads
    only data that no program of the launch writes, and writes its own slots only."""
    direction = tl.load(move + entity, mask=able, other=0).to(tl.int32)
    able = able & (direction > 0)
    goal_row = tl.load(world.row + entity, mask=able, other=0) + down(direction)
    goal_col = tl.load(world.col + entity, mask=able, other=0) + right(direction)
    goal = realm * (config.height * config.width) + goal_row * config.width + goal_col
    able = able & walkable(tl.load(world.material + goal, mask=able, other=0))
    able = able & (tl.load(world.presence + goal, mask=able, other=1) == 0)
    tl.store(intent + entity, tl.where(able, direction, 0).to(tl.uint8), mask=inside)


@triton.jit
def _intend(world, move, intent, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free: each slot is written only by its own program."""
    realm, _, entity, inside = my_slots(slots, chunks, BLOCK)
    able = inside & (tl.load(world.alive + entity, mask=inside, other=0) != 0)
    able = able & (tl.load(world.freeze + entity, mask=able, other=1) == 0)
    able = able & (tl.load(world.health + entity, mask=able, other=0) > 0)
    intend(world, realm, entity, inside, able, move, intent, config)


@triton.jit
def _contest(world, intent, won, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Decides which intents win.

    Order-free: reads intents and occupants, which do not change here, and writes its own slots only."""
    realm, _, entity, inside = my_slots(slots, chunks, BLOCK)
    direction = tl.load(intent + entity, mask=inside, other=0).to(tl.int32)
    claims = direction > 0
    goal_row = tl.load(world.row + entity, mask=claims, other=0) + down(direction)
    goal_col = tl.load(world.col + entity, mask=claims, other=0) + right(direction)
    lucky = wins(world, STREAM, realm, goal_row, goal_col, direction, intent, slots, config)
    tl.store(won + entity, tl.where(lucky, direction, 0).to(tl.uint8), mask=inside)


@triton.jit
def _commit(world, won, slots, chunks, population_size, config: tl.constexpr, BLOCK: tl.constexpr):
    """Moves the winners.

    Order-free: a target tile was empty and has one winner, and a tile that is left is not a target, so no two
    programs write the same location."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    direction = tl.load(won + entity, mask=inside, other=0).to(tl.int32)
    goes = direction > 0
    from_row = tl.load(world.row + entity, mask=goes, other=0)
    from_col = tl.load(world.col + entity, mask=goes, other=0)
    to_row, to_col = from_row + down(direction), from_col + right(direction)
    plane = realm * (config.height * config.width)
    origin, goal = plane + from_row * config.width + from_col, plane + to_row * config.width + to_col
    tl.store(world.occupant + goal, slot + 1, mask=goes)
    tl.store(world.occupant + origin, tl.zeros([BLOCK], tl.int32), mask=goes)
    if config.npc_slots > 0:
        shows = tl.load(world.presence + origin, mask=goes, other=0)
    else:  # the old value is known without reading it
        shows = (slot // population_size + 1).to(tl.uint8)
    tl.store(world.presence + goal, shows, mask=goes)
    tl.store(world.presence + origin, tl.zeros([BLOCK], tl.uint8), mask=goes)
    tl.store(world.heading + entity, direction.to(tl.uint8), mask=goes)
    tl.store(world.row + entity, to_row, mask=goes)
    tl.store(world.col + entity, to_col, mask=goes)


def intents(world: World) -> Tensor:
    """Returns a workspace, [R, S] uint8: the direction in which each slot intends to move."""
    return world.workspace("intent", tuple(world.alive.shape), torch.uint8)


def settle_contests(world: World) -> None:
    """Turns intents into the moves of the winners."""
    cut = over_slots(*world.alive.shape)
    won = world.workspace("won", tuple(world.alive.shape), torch.uint8)
    launch(
        _contest, cut.programs, fields_of(_ContestFields, world), intents(world), won, cut.slots, cut.chunks,
        config=fields_of(_Map, world.config), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    launch(
        _commit, cut.programs, fields_of(_CommitFields, world), won, cut.slots, cut.chunks,
        world.config.population_size, config=fields_of(_CommitConfig, world.config),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


def movement(world: World, move: Tensor) -> None:
    """See ``nmmo_gpu.world.movement.movement``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _intend, cut.programs, fields_of(_IntendFields, world), move, intents(world), cut.slots, cut.chunks,
        config=fields_of(_Map, world.config), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    settle_contests(world)
